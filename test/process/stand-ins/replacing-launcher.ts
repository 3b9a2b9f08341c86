/**
 * A launcher that drains and replaces workers in turn, as often as its argument says, once the node serves.
 * It is a program of its own, since the launcher's node writes its log where the launcher does.
 */

interface LauncherLike {
  run(): Promise<number>;
  stop(): void;
  replaceWorker(slot: number): Promise<void>;
}

type LauncherClass = new (options: { dataFolder: string }) => LauncherLike;

const { Launcher } = (await import(new URL("../../../bin/lib/launcher.js", import.meta.url).href)) as {
  Launcher: LauncherClass;
};

const launcher = new Launcher({ dataFolder: process.env["CARDEA_DATA"]! });
process.on("SIGTERM", () => launcher.stop());
process.on("SIGUSR1", () => void replaceAll());
process.exitCode = await launcher.run();
process.exit();

async function replaceAll(): Promise<void> {
  const times = Number(process.argv[2]);
  for (let i = 0; i < times; i++) await launcher.replaceWorker(i % 2);
  process.stdout.write(`${JSON.stringify({ level: "info", role: "test", message: "all replaced" })}\n`);
}
