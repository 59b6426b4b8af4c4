// Hooks over HTTP, received by Node alone: `node examples/hook_receiver.mjs 9000`.
//
// Then `TUSD_PY_HOOKS__HTTP_URLS=http://127.0.0.1:9000/hooks tusd-py serve`, with the hooks that are answered here in
// `TUSD_PY_HOOKS__ENABLED_EVENTS=authorize,pre-create,pre-finish`.

import { createServer } from "node:http";

const refused = (status, sentence, flag) => ({
  [flag]: true,
  HTTPResponse: { StatusCode: status, Body: `${sentence}\n` },
});

const answers = {
  // Only who has a token, for this request and for this upload, is served.
  authorize({ HTTPRequest }) {
    const [token] = HTTPRequest.Header.Authorization ?? [];
    return token === "Bearer let-me-in" ? {} : refused(401, "who are you?", "RejectRequest");
  },

  // Uploads need a name, which is told back in lower case, and may have a gigabyte.
  "pre-create"({ Upload }) {
    const name = Upload.MetaData.filename;
    if (!name) return refused(422, "give the file a name", "RejectUpload");
    if (Upload.Size > 1_000_000_000) return refused(413, "at most 1 GB", "RejectUpload");
    return { ChangeFileInfo: { MetaData: { ...Upload.MetaData, filename: name.toLowerCase() } } };
  },

  // The client learns what became of its file; asked again if this answer does not arrive.
  "pre-finish"({ Upload }) {
    return { HTTPResponse: { Header: { "X-File": `/library/${Upload.ID}` } } };
  },
};

const server = createServer(async (request, response) => {
  let body = "";
  for await (const piece of request.setEncoding("utf8")) body += piece;
  const { Type, Event } = JSON.parse(body);
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify(answers[Type]?.(Event) ?? {}));
});

server.listen(Number(process.argv[2] ?? 9000), "127.0.0.1", () => {
  console.log(`receiving hooks at http://127.0.0.1:${server.address().port}/hooks`);
});
