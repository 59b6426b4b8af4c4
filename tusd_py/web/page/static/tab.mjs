// Finds out whether this is the only open tab of the page.
// Two tabs that restore the same upload would interrupt each other again and again.

const TIMEOUT_MS = 1000

// Resolves to false if another tab still holds the lock after TIMEOUT_MS; a reloaded page needs less to
// release it. Without Web Locks (plain HTTP on other hosts than localhost) it resolves to true: restoring
// uploads is more important than the rare case of a second tab.
export function onlyTab(name) {
  if (!navigator.locks) return Promise.resolve(true)
  return new Promise((resolve) => {
    const held = () => {
      resolve(true)
      return new Promise(() => {}) // Until the tab closes.
    }
    navigator.locks.request(name, { signal: AbortSignal.timeout(TIMEOUT_MS) }, held).catch(() => resolve(false))
  })
}
