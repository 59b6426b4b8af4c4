// Copies text to the clipboard and shows the result on the button.
import { text } from './texts.mjs'

const SHOWN_MS = 1600

export async function copy(copied, button) {
  const done = await write(copied)
  button.dataset.label ??= button.textContent
  button.textContent = text(done ? 'copied' : 'copy_by_hand')
  setTimeout(() => (button.textContent = button.dataset.label), SHOWN_MS)
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
