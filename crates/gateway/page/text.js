// Texts of members, models and tools are untrusted. They reach the page only as text nodes, and characters that change
// the order or the look of other characters, that are invisible, or that look like a space are shown by their number.

const HIDDEN = /(?![\n\t ])[\p{Cc}\p{White_Space}\p{Default_Ignorable_Code_Point}\p{Bidi_Control}\u2800\ufff9-\ufffb\u{13430}-\u{1343f}\u{16fe4}\u{1d159}]/gu;

/** A text of a call, which the user decides about: every hidden character counts. */
export function visibleCall(text) {
  return String(text ?? '').replace(HIDDEN, (char) => `\\u{${char.codePointAt(0).toString(16)}}`);
}

/** U+FE0F is part of emoji. */
export function visible(text) {
  return String(text ?? '').split('\ufe0f').map(visibleCall).join('\ufe0f');
}

export function duration(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)} h ${Math.floor((seconds % 3_600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} days`;
}

export function cost({ micro_usd = 0, unpriced = 0, input = 0, output = 0 } = {}) {
  if (micro_usd) return `$${(micro_usd / 1e6).toFixed(2)}${unpriced ? ' + unpriced' : ''}`;
  const tokens = input + output;
  return tokens ? `${tokens.toLocaleString('en')} tokens` : '';
}

export function clock(at) {
  return new Date(at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
}
