// Webhooks, received and verified by Node alone: `WEBHOOK_SECRET=whsec_... node examples/webhook_receiver.mjs 9000`,
// with the same secret in `webhooks.endpoints`.

import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const key = Buffer.from(process.env.WEBHOOK_SECRET.replace(/^whsec_/, ""), "base64");
const toleranceSeconds = 300;
const seen = new Set(); // in your database, in the transaction of what you do

// Sent by who has the key, and not long ago.
function isGenuine(id, timestamp, signatures, body) {
  if (!(Math.abs(Date.now() / 1000 - Number(timestamp)) <= toleranceSeconds)) return false;
  const right = Buffer.from("v1," + createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest("base64"));
  return signatures.split(" ").some((text) => {
    const signature = Buffer.from(text);
    return signature.length === right.length && timingSafeEqual(signature, right);
  });
}

const server = createServer(async (request, response) => {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  const body = Buffer.concat(pieces);
  const { "webhook-id": id = "", "webhook-timestamp": timestamp = "", "webhook-signature": signatures = "" } = request.headers;
  if (!isGenuine(id, timestamp, signatures, body)) return response.writeHead(401).end();
  if (!seen.has(id)) { // the same event may come twice
    seen.add(id);
    const { type, upload } = JSON.parse(body);
    console.log(type, upload.id);
  }
  response.writeHead(204).end();
});

server.listen(Number(process.argv[2] ?? 9000), "127.0.0.1", () => {
  console.log(`receiving webhooks at http://127.0.0.1:${server.address().port}/webhooks`);
});
