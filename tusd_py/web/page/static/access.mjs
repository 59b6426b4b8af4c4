// How the visitor may upload: without credentials, with an account, with an access code, or by an upload link.
// `admit` asks for what is needed; the object that it returns gives each request its headers.
import { Account } from './account.mjs'
import { Code } from './code.mjs'
import { reasonOf } from './refused.mjs'
import { data, endpoint, text } from './texts.mjs'

const { codes, anonymous } = data.access
// The cookies of a login are sent to this origin only.
const login = data.access.login && new URL(endpoint).origin === location.origin
const byId = (id) => document.getElementById(id)

// Resolves once the visitor may upload. An upload link stands after "#link=" in the address of the page.
export async function admit() {
  addEventListener('hashchange', () => location.reload())
  const link = linkIn(location.hash)
  if (link) return new Link(link)
  const bearer = (await restore()) ?? (anonymous || !(login || codes) ? new Anyone() : await ask())
  show(bearer)
  return bearer
}

// Who has had access in this browser before; the server may be down, or not accept it any more.
async function restore() {
  try {
    return ((login && (await Account.restore(askAgain))) || (codes && (await Code.restore(askAgain)))) || null
  } catch {
    return anonymous ? null : ask(text('unreachable_now'))
  }
}

class Anyone {
  // Separates what the browser keeps of one visitor from what it keeps of others.
  key = ''
  storage = localStorage
  canDownload = true
  makesLinks = false
  headers() {
    return {}
  }
  // Nothing can be renewed: a token in a cookie of another application may be valid again later.
  expire() {
    return false
  }
}

// The bearer of an upload link: its URL stands in place of the endpoint, and takes one file.
class Link extends Anyone {
  canDownload = false
  constructor(url) {
    super()
    this.endpoint = url
    this.key = `link-${encodeURIComponent(new URL(url).pathname)}`
  }
}

// The URL of one upload below the endpoint; null for everything else.
function linkIn(hash) {
  const value = new URLSearchParams(hash.slice(1)).get('link')
  if (!value || !URL.canParse(value, endpoint)) return null
  const { href } = new URL(value, endpoint)
  return href.startsWith(endpoint) && href !== endpoint ? href : null
}

// Shows the forms until one of them has succeeded.
function ask(sentence = '') {
  byId('access').hidden = false
  byId('access-why').textContent = sentence
  byId('login').hidden = !login
  byId('code').hidden = !codes
  byId('account').hidden = true
  return new Promise((resolve) => {
    const entered = (form, open) => {
      form.onsubmit = async (event) => {
        event.preventDefault()
        const problem = form.querySelector('[role=alert]')
        const button = form.querySelector('[type=submit]')
        problem.replaceChildren()
        button.disabled = true
        try {
          const opened = await open(new FormData(form))
          form.reset()
          byId('access').hidden = true
          show(opened)
          resolve(opened)
        } catch (failure) {
          problem.replaceChildren(failure.code ? reasonOf(failure) : text('unreachable_now'))
        } finally {
          button.disabled = false
        }
      }
    }
    entered(byId('login'), (fields) => Account.open(fields.get('name'), fields.get('password'), askAgain))
    entered(byId('code'), (fields) => Code.open(fields.get('code'), askAgain))
  })
}

// The credentials of running uploads have ended: they wait until the visitor has entered new ones.
function askAgain() {
  return ask(text('access_ended'))
}

function show(bearer) {
  const isKnown = Boolean(bearer.description)
  byId('account').hidden = !isKnown && !(login || codes)
  byId('account-name').textContent = bearer.description ?? ''
  byId('account-leave').hidden = !isKnown
  byId('account-enter').hidden = isKnown
  byId('account-leave').onclick = async () => {
    await bearer.leave()
    location.reload()
  }
  byId('account-enter').onclick = async () => {
    await ask()
    location.reload()
  }
}
