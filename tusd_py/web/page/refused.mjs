// The list of files that the server has refused, each with the server's sentence.
import { visible } from './uploaded.mjs'

// Another try may succeed after these: the offset was wrong, another request has the upload, too many requests.
const TEMPORARY = [409, 423, 429]

// The sentence of a response that refuses a file for good; null for every other failure. The server's plain text begins
// with the code of the error, as in "ERR_MAX_SIZE_EXCEEDED: maximum size exceeded".
export function refusalOf(error) {
  const response = error?.originalResponse
  const status = response?.getStatus() ?? 0
  if (status < 400 || status >= 500 || TEMPORARY.includes(status)) return null
  const sentence = (response.getBody() ?? '').trim().replace(/^ERR_[A-Z_]+: /, '')
  return sentence || `the server answered ${status}`
}

export function showRefused(name, sentence) {
  const item = document.createElement('li')
  item.textContent = `${visible(name)}: ${sentence}`
  document.getElementById('refused-list').append(item)
  document.getElementById('refused').hidden = false
}
