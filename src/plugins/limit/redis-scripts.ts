/**
 * Scripts that Redis runs for limits: each reads, decides and writes in one step, on one key, so that it is exact
 * over all gateways and may run in a cluster. A request that is refused consumes nothing.
 *
 * Time is Redis's own, so clocks of gateways that differ do no harm. Replies are whole numbers, since Redis cuts
 * fractions off. Redis 5 or later: before, a script that asked for the time could not write.
 */

import { createHash } from "node:crypto";

export interface RedisScript {
  readonly text: string;
  /** SHA-1 in hexadecimal, by which Redis knows the script. */
  readonly sha: string;
}

function script(text: string): RedisScript {
  return { text, sha: createHash("sha1").update(text).digest("hex") };
}

/**
 * Fixed window that begins with the first request. Arguments: limit, window in ms, cost, "1" to count beyond the
 * limit. The key holds the count and expires with the window. Reply: allowed (0 or 1), count, ms left.
 */
export const FIXED_WINDOW = script(`
local limit, windowMs, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local leftMs = redis.call('PTTL', KEYS[1])
local isNew = leftMs < 0
local count = 0
if isNew then leftMs = windowMs else count = tonumber(redis.call('GET', KEYS[1])) end
local fits = count + cost <= limit
if fits or ARGV[4] == '1' then
  if isNew then redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2])
  else redis.call('INCRBY', KEYS[1], ARGV[3]) end
  count = count + cost
end
return {fits and 1 or 0, count, leftMs}`);

/**
 * Sliding window, estimated from two windows aligned to the clock: the previous one counts with the share that the
 * sliding window still covers. Arguments as above. The key is a hash: number of the window, its count, the count
 * before. Reply: allowed, count, previous count (at most the limit), ms left of the current window.
 */
export const SLIDING_WINDOW = script(`
local limit, windowMs, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local nowMs = time[1] * 1000 + math.floor(time[2] / 1000)
local window = math.floor(nowMs / windowMs)
local leftMs = windowMs - nowMs % windowMs
local state = redis.call('HMGET', KEYS[1], 'window', 'count', 'previous')
local count, previous = 0, 0
if tonumber(state[1]) == window then count, previous = tonumber(state[2]), tonumber(state[3])
elseif tonumber(state[1]) == window - 1 then previous = tonumber(state[2]) end
local weighed = math.min(previous, limit)
local fits = count + cost <= limit and count + weighed / windowMs * leftMs < limit
if fits or ARGV[4] == '1' then
  count = count + cost
  redis.call('HSET', KEYS[1], 'window', window, 'count', count, 'previous', previous)
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', 2 * windowMs))
end
return {fits and 1 or 0, count, weighed, leftMs}`);

/**
 * Leaky bucket. Arguments: requests per second, burst. The key is a hash: requests in excess of the rate, and when
 * that was so. Reply: allowed, microseconds to wait.
 */
export const LEAKY_BUCKET = script(`
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local nowMs = time[1] * 1000 + time[2] / 1000
local state = redis.call('HMGET', KEYS[1], 'excess', 'last')
local excess = 0
if state[1] then
  local passedMs = math.max(0, nowMs - tonumber(state[2]))
  excess = math.max(0, tonumber(state[1]) - rate * passedMs / 1000 + 1)
end
if excess > burst + 1e-9 then return {0, 0} end
redis.call('HSET', KEYS[1], 'excess', string.format('%.9f', excess), 'last', string.format('%.3f', nowMs))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.min(2 ^ 40, math.ceil((excess + 1) / rate * 1000))))
return {1, math.floor(math.min(2 ^ 50, excess / rate * 1e6))}`);

/**
 * Takes a unit of a concurrency limit. Arguments: limit, name of the unit, ms after which it is given back by
 * itself. The key is a sorted set of units by the time of their end. Reply: allowed, units held.
 */
export const HOLD = script(`
local limit, keepMs = tonumber(ARGV[1]), tonumber(ARGV[3])
local time = redis.call('TIME')
local nowMs = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', nowMs))
local held = redis.call('ZCARD', KEYS[1])
if held >= limit then return {0, held} end
redis.call('ZADD', KEYS[1], string.format('%.0f', nowMs + keepMs), ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {1, held + 1}`);

/** Gives a unit back; giving it back twice does nothing. Argument: its name. Reply: units given back (0 or 1). */
export const RELEASE = script(`return redis.call('ZREM', KEYS[1], ARGV[1])`);
