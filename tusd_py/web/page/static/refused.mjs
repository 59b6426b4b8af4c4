// The list of files that the server has refused, each with the reason.
import { bytes, moment, text, texts, visible } from './texts.mjs'

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

export function showRefused(name, refusal) {
  const item = document.createElement('li')
  item.append(`${visible(name)}: `, reasonOf(refusal))
  document.getElementById('refused-list').append(item)
  document.getElementById('refused').hidden = false
}

// Of a login, a code or a link the page's own sentence says everything; the server's has details about files only.
const WITHOUT_DETAILS = /^ERR_(LOGIN_REFUSED|TOO_MANY_LOGINS|TOO_MANY_GUESSES|CODE_\w+|LINK_\w+|UNAUTHENTICATED)$/

// In other languages than English the page's own sentence stands before the server's, which has the details.
export function reasonOf({ code, sentence }) {
  const reason = document.createDocumentFragment()
  const quota = quotaIn(code, sentence)
  const own = texts.refusals[code]
  if (own && WITHOUT_DETAILS.test(code)) {
    reason.append(own)
    return reason
  }
  if (own) reason.append(`${own} `)
  if (quota) {
    reason.append(quota)
    return reason
  }
  const detail = document.createElement('span')
  detail.textContent = sentence
  if (own) detail.className = 'details'
  if (code) detail.lang = 'en'
  reason.append(detail)
  return reason
}

const QUOTA = /^the quota (\w+) is (\d+) (bytes|files), of which (\d+) are used; (?:it is reset at (\S+))?/

// The server names a quota with numbers of bytes and a time in UTC: the same as people write them.
function quotaIn(code, sentence) {
  const [, name, limit, unit, used, resetsAt] = (/^ERR_(FILE_)?QUOTA_EXCEEDED$/.test(code) && QUOTA.exec(sentence)) || []
  const known = `quota_${name}`
  if (!name || !(known in texts.page)) return null
  const amount = (count) => (unit === 'bytes' ? bytes(Number(count)) : text('files_count', { count: Number(count) }))
  const state = text('quota_used', { quota: text(known), used: amount(used), limit: amount(limit) })
  return resetsAt ? `${state} ${text('quota_reset', { time: moment(resetsAt) })}` : state
}

export function clearRefused() {
  document.getElementById('refused-list').replaceChildren()
  document.getElementById('refused').hidden = true
}
