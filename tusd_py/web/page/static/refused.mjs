// The list of files that the server has refused, each with the reason.
import { text, texts, visible } from './texts.mjs'

// Another try may succeed after these: the offset was wrong, another request has the upload, too many requests.
const TEMPORARY = [409, 423, 429]

// Why a response refuses a file for good; null for every other failure. The server's plain text begins with the code of
// the error, as in "ERR_MAX_SIZE_EXCEEDED: maximum size exceeded"; a text of a hook does not.
export function refusalOf(error) {
  const response = error?.originalResponse
  const status = response?.getStatus() ?? 0
  if (status < 400 || status >= 500 || TEMPORARY.includes(status)) return null
  const [, code, sentence] = /^(?:(ERR_[A-Z_]+): )?(.*)$/s.exec((response.getBody() ?? '').trim())
  return { code, sentence: sentence || text('refused_status', { status: String(status) }) }
}

// In other languages than English the page's own sentence stands before the server's, which has the details.
export function showRefused(name, { code, sentence }) {
  const item = document.createElement('li')
  const own = texts.refusals[code]
  item.append(own ? `${visible(name)}: ${own} ` : `${visible(name)}: `)
  const detail = document.createElement('span')
  detail.textContent = sentence
  if (own) detail.className = 'details'
  if (code) detail.lang = 'en'
  item.append(detail)
  document.getElementById('refused-list').append(item)
  document.getElementById('refused').hidden = false
}

export function clearRefused() {
  document.getElementById('refused-list').replaceChildren()
  document.getElementById('refused').hidden = true
}
