// Hooks over HTTP, received by Node alone: `node examples/hook_receiver.mjs 9000`.
//
// Then `TUSD_PY_HOOKS__HTTP_URLS=http://127.0.0.1:9000/hooks tusd-py serve`, with the hooks that it handles in
// `TUSD_PY_HOOKS__ENABLED_EVENTS=authorize,pre-create,pre-finish`.

import { createServer } from "node:http";

const refused = (status, sentence, flag) => ({
  [flag]: true,
  HTTPResponse: { StatusCode: status, Body: `${sentence}\n` },
});

const handlers = {
  // Allow only clients with the right token.
  authorize({ HTTPRequest }) {
    const [token] = HTTPRequest.Header.Authorization ?? [];
    return token === "Bearer let-me-in" ? {} : refused(401, "who are you?", "RejectRequest");
  },

  // Require a name, convert it to lower case, and allow at most 1 GB.
  "pre-create"({ Upload }) {
    const name = Upload.MetaData.filename;
    if (!name) return refused(422, "give the file a name", "RejectUpload");
    if (Upload.Size > 1_000_000_000) return refused(413, "at most 1 GB", "RejectUpload");
    return { ChangeFileInfo: { MetaData: { ...Upload.MetaData, filename: name.toLowerCase() } } };
  },

  // Tell the client where its file is. Invoked again if this response does not arrive.
  "pre-finish"({ Upload }) {
    return { HTTPResponse: { Header: { "X-File": `/library/${Upload.ID}` } } };
  },
};

const server = createServer(async (request, response) => {
  let body = "";
  for await (const chunk of request.setEncoding("utf8")) body += chunk;
  const { Type, Event } = JSON.parse(body);
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify(handlers[Type]?.(Event) ?? {}));
});

server.listen(Number(process.argv[2] ?? 9000), "127.0.0.1", () => {
  console.log(`receiving hooks at http://127.0.0.1:${server.address().port}/hooks`);
});
