// Copies text to the clipboard and shows the result on the button.
import { text } from './texts.mjs'

const SHOWN_MS = 1600

// `copied` is the text, or a function that fetches it.
export async function copy(copied, button) {
  button.dataset.text ??= button.textContent
  button.dataset.label ??= button.getAttribute('aria-label')
  button.textContent = await copying(copied)
  // The label would contradict what the button shows.
  button.removeAttribute('aria-label')
  setTimeout(() => {
    button.textContent = button.dataset.text
    button.setAttribute('aria-label', button.dataset.label)
  }, SHOWN_MS)
}

async function copying(copied) {
  try {
    const done = await write(typeof copied === 'string' ? copied : await copied())
    return text(done ? 'copied' : 'copy_by_hand')
  } catch {
    return text('copy_failed')
  }
}

// The clipboard API exists in secure contexts only; over plain HTTP the old command still works.
async function write(copied) {
  try {
    await navigator.clipboard.writeText(copied)
    return true
  } catch {
    const area = document.createElement('textarea')
    area.value = copied
    area.className = 'offscreen'
    document.body.append(area)
    area.select()
    const done = document.execCommand('copy')
    area.remove()
    return done
  }
}
