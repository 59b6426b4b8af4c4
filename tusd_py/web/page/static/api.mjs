// Requests to the JSON API of this server.

// A refusal with the code and the sentence of the server.
export class Refused extends Error {
  constructor(status, { code = '', detail = '' }) {
    super(detail)
    Object.assign(this, { status, code, sentence: detail })
  }
}

// The JSON of the answer. Throws Refused, or a TypeError if the server cannot be reached.
export async function call(method, path, { body, headers = {} } = {}) {
  const json = body === undefined ? {} : { 'Content-Type': 'application/json' }
  const answer = await fetch(new URL(`api/${path}`, document.baseURI), {
    method,
    headers: { ...json, ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  })
  const found = await answer.json().catch(() => ({}))
  if (!answer.ok) throw new Refused(answer.status, found)
  return found
}
