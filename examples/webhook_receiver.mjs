// Webhooks, received and verified by Node alone: `WEBHOOK_SECRET=whsec_... node examples/webhook_receiver.mjs 9000`,
// with the same secret in `webhooks.endpoints`.

import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const key = Buffer.from(process.env.WEBHOOK_SECRET.replace(/^whsec_/, ""), "base64");
const toleranceSeconds = 300;
const seen = new Set(); // in production: in your database, in the same transaction as your changes

// Whether the request was sent by the owner of the key, and recently.
function isGenuine(id, timestamp, signatures, body) {
  if (!(Math.abs(Date.now() / 1000 - Number(timestamp)) <= toleranceSeconds)) return false;
  const expected = Buffer.from("v1," + createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest("base64"));
  return signatures.split(" ").some((text) => {
    const signature = Buffer.from(text);
    return signature.length === expected.length && timingSafeEqual(signature, expected);
  });
}

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  const { "webhook-id": id = "", "webhook-timestamp": timestamp = "", "webhook-signature": signatures = "" } = request.headers;
  if (!isGenuine(id, timestamp, signatures, body)) return response.writeHead(401).end();
  if (!seen.has(id)) { // the same event may be delivered twice
    seen.add(id);
    const { type, upload } = JSON.parse(body);
    console.log(type, upload.id);
  }
  response.writeHead(204).end();
});

server.listen(Number(process.argv[2] ?? 9000), "127.0.0.1", () => {
  console.log(`receiving webhooks at http://127.0.0.1:${server.address().port}/webhooks`);
});
