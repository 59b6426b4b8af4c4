// Copies text to the clipboard and shows the result on the button.

const SHOWN_MS = 1600

export async function copy(text, button) {
  const done = await write(text)
  button.dataset.label ??= button.textContent
  button.textContent = done ? 'Copied' : 'Press Ctrl+C'
  setTimeout(() => (button.textContent = button.dataset.label), SHOWN_MS)
}

// The clipboard API exists in secure contexts only; over plain HTTP the old command still works.
async function write(text) {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    const area = document.createElement('textarea')
    area.value = text
    area.className = 'offscreen'
    document.body.append(area)
    area.select()
    const done = document.execCommand('copy')
    area.remove()
    return done
  }
}
