// @tus/server with its file store, for docs/conformance.md: node tus_node_server.mjs DIRECTORY [--tight]
// With --tight it has the limits that some cases need: length, expiry, silence of a connection.
import { FileStore } from "@tus/file-store";
import { Server } from "@tus/server";

const [directory, mode] = process.argv.slice(2);
const tight = mode === "--tight";
const datastore = new FileStore({
  directory,
  expirationPeriodInMilliseconds: tight ? 3000 : 24 * 60 * 60 * 1000,
});
const server = new Server({ path: "/files", datastore, maxSize: tight ? 1 << 20 : undefined });
const http = server.listen({ host: "127.0.0.1", port: 0 }, () => {
  console.log(`tus endpoint  http://127.0.0.1:${http.address().port}/files`);
});
if (tight) http.setTimeout(2000);
// Some refused bodies end Node 20 with "ReadableStream is already closed". The comparison would stop there, so the
// process goes on and says so: docs/conformance.md counts these lines.
process.on("uncaughtException", (error) => console.error(`crash: ${error.message}`));
process.on("SIGTERM", () => process.exit(0));
