/** CONNECT packets for tests, made as the specification says and not as the reader reads. */

export interface PacketFacts {
  level: number;
  clientId: string;
  name?: string;
  /** Of MQTT 5.0. */
  properties?: Buffer;
}

export function connectPacket({
  level,
  clientId,
  name = "MQTT",
  properties = Buffer.alloc(0),
}: PacketFacts): Buffer {
  const body = Buffer.concat([
    text(name),
    Buffer.from([level, 0x02, 0, 60]),
    ...(level === 5 ? [lengthOf(properties.length), properties] : []),
    text(clientId),
  ]);
  return Buffer.concat([Buffer.from([0x10]), lengthOf(body.length), body]);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function lengthOf(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  do {
    bytes.push((rest % 128) + (rest >= 128 ? 128 : 0));
    rest = Math.floor(rest / 128);
  } while (rest > 0);
  return Buffer.from(bytes);
}
