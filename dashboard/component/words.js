// Numbers and labels as words.

const MINUS = "−";

function secondsText(value) {
  const seconds = Math.max(0, value);
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  return wholeSecondsText(seconds);
}

function wholeSecondsText(value) {
  const seconds = Math.max(0, Math.round(value));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, "0")} s`;
  return `${Math.floor(seconds / 3600)} h ${String(Math.floor((seconds % 3600) / 60)).padStart(2, "0")} min`;
}

function percentText(probability) {
  return `${Math.round(100 * probability)} %`;
}

function millisecondsText(value) {
  return value < 10 ? value.toFixed(1) : String(Math.round(value));
}

function decibelText(value) {
  return `${value < 0 ? MINUS : ""}${Math.abs(Math.round(value))} dB`;
}

let titles = new Map(); // what the model's card has people shown of labels, by label

function setTitles(ofLabels) {
  titles = new Map(Object.entries(ofLabels));
}

function labelText(label) {
  return titles.get(label) ?? label.replaceAll("_", " ");
}

function clockText(unixSeconds) {
  return new Date(1000 * unixSeconds).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

// The value that a share of `sorted` lies below.
function percentile(sorted, share) {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}
