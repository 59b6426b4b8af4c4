// Answers one question: is this the only open tab of the page?
// Two tabs that both restore the same upload would take it from each other for ever.

const PATIENCE_MS = 1000

// Resolves to false when another tab holds the lock for as long as a page being replaced by its own
// reload may need to let go. Without Web Locks (plain HTTP beyond this machine) the answer is true:
// restoring matters to everyone, a second tab to few.
export function onlyTab(name) {
  if (!navigator.locks) return Promise.resolve(true)
  return new Promise((resolve) => {
    const held = () => {
      resolve(true)
      return new Promise(() => {}) // Until the tab closes.
    }
    navigator.locks.request(name, { signal: AbortSignal.timeout(PATIENCE_MS) }, held).catch(() => resolve(false))
  })
}
