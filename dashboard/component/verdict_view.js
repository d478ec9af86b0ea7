// The big label, and the bars of all labels in the model's order, which never jump.

const SPEAK_EVERY_MS = 5_000;
const MOST_BARS = 12;
const SWAP_AT = 0.02; // a label replaces a shown one when it is this much likelier, so that bars do not come and go

class VerdictView {
  constructor(page) {
    this.hero = page.querySelector(".hero");
    this.lead = page.querySelector(".lead");
    this.label = page.querySelector(".label");
    this.detail = page.querySelector(".detail");
    this.others = page.querySelector(".others");
    this.progress = page.querySelector(".progress");
    this.progressBar = page.querySelector(".progress i");
    this.voice = page.querySelector(".unseen");
    this.list = page.querySelector(".bars ol");
    this.threshold = page.querySelector(".key-enter b");
    this.bars = page.querySelector(".bars");
    this.more = page.querySelector(".key-more");
    this.rows = [];
    this.spokenAt = -Infinity;
  }

  start(hello) {
    this.hello = hello;
    this.bars.hidden = false;
    this.verdict = hello.verdict;
    this.bars.style.setProperty("--enter", hello.enter);
    this.threshold.textContent = `decides at ${percentText(hello.enter)}`;
    this.rows = hello.labels.map((label) => barRow(label));
    this.list.replaceChildren(...this.rows.map((row) => row.item));
    this.shown = new Set([...hello.labels.keys()].slice(0, MOST_BARS));
    this.more.textContent = hello.labels.length > MOST_BARS ? `the ${MOST_BARS} likeliest of ${hello.labels.length}` : "";
  }

  // `known` comes from standing().
  paint(theme, now, known) {
    const said = this.words(now, known);
    this.hero.dataset.state = said.state;
    this.hero.style.setProperty("--colour", said.colour === undefined ? theme.line : theme.colour(said.colour));
    setText(this.lead, said.lead ?? "");
    if (setText(this.label, said.label)) this.label.style.setProperty("--ems", ems(this.label));
    setText(this.detail, said.detail);
    this.progress.hidden = said.progress === undefined;
    if (said.progress !== undefined) this.progressBar.style.transform = `scaleX(${said.progress})`;
    this.paintOthers(said.state);
    this.paintBars(theme, said.state);
    this.speak(said);
  }

  // What the model says beside its first answer: a mood, the kind of sound.
  paintOthers(state) {
    const others = state === "deaf" || state === "silence" ? [] : (this.verdict?.others ?? []);
    const said = others.filter(({ confidence }) => confidence !== null).map(({ name, label, confidence }) =>
      `${labelText(name)}: ${label ? `${labelText(label)} ${percentText(confidence)}` : "not sure"}`);
    this.others.hidden = !said.length;
    setText(this.others, said.join(" · "));
  }

  words(now, known) {
    const verdict = this.verdict;
    if (known.label) return { state: "deaf", label: known.label, detail: known.reason };
    if (!verdict) return { state: "deaf", label: "Listening…", detail: "" };
    // Between verdicts time goes on; after the end of the audio it does not.
    const at = known.state === "ended" ? verdict.time : Math.max(verdict.time, Math.min(now, verdict.time + 2));
    const heldS = at - verdict.since;
    const lead = known.state === "ended" ? "The last thing it heard" : "It sounds like";
    if (verdict.instead && verdict.state !== "silence") {
      return { state: "unsure", label: labelText(verdict.instead), detail: `for ${wholeSecondsText(heldS)}`, lead };
    }
    if (verdict.state === "warming-up") return this.warmingUp(verdict, at);
    if (verdict.state === "silence") {
      return { state: "silence", label: "Silence", detail: `for ${wholeSecondsText(heldS)}` };
    }
    if (verdict.state === "unsure") {
      return { state: "unsure", label: "Not sure", detail: `${this.candidates()}${this.leadWanted(verdict)}` };
    }
    return {
      state: "decided",
      label: labelText(verdict.label),
      detail: `${percentText(verdict.confidence ?? 0)} sure · for ${wholeSecondsText(heldS)}${this.rival(verdict)}`,
      lead,
      colour: this.hello.labels.indexOf(verdict.label),
    };
  }

  // A label stays until another leads it by far, or for long: so that the bars do not seem to contradict it.
  rival({ label, smoothed }) {
    const leader = this.hello.labels[smoothed.indexOf(Math.max(...smoothed))];
    return leader === label ? "" : ` · until ${labelText(leader)} leads for longer`;
  }

  // A label that is likely enough is not shown before it leads the one shown last by far, or for long.
  leadWanted({ smoothed }) {
    return smoothed && Math.max(...smoothed) >= this.hello.enter ? " · waiting for a clearer lead" : "";
  }

  // A long window may be named while it fills: said quietly, with how much of it has been heard.
  warmingUp(verdict, at) {
    const windowS = this.hello.window_s;
    const heardS = Math.min(windowS, verdict.heard_s + at - verdict.time);
    const heard = `${heardS.toFixed(1)} s of ${windowS.toFixed(1)} s`;
    const said = { state: "warming-up", progress: heardS / windowS };
    if (verdict.label) {
      return {
        ...said,
        lead: "So far it sounds like",
        label: labelText(verdict.label),
        detail: `${percentText(verdict.confidence ?? 0)} sure · heard ${heard}`,
        colour: this.hello.labels.indexOf(verdict.label),
      };
    }
    return { ...said, label: "Listening…", detail: verdict.raw ? `${this.candidates()} · heard ${heard}` : heard };
  }

  candidates() {
    const leading = (this.verdict.smoothed ?? [])
      .map((probability, index) => ({ probability, label: labelText(this.hello.labels[index]) }))
      .sort((a, b) => b.probability - a.probability)
      .slice(0, 2);
    if (!leading.length) return "";
    return `perhaps ${leading.map(({ label, probability }) => `${label} ${percentText(probability)}`).join(" or ")}`;
  }

  paintBars(theme, state) {
    const { smoothed, raw } = this.verdict ?? {};
    const leader = smoothed && smoothed.indexOf(Math.max(...smoothed));
    this.bars.classList.toggle("idle", state === "deaf" || !raw || Boolean(this.verdict.instead));
    if (smoothed) this.choose(smoothed);
    this.rows.forEach((row, index) => {
      row.item.hidden = !this.shown.has(index);
      row.item.classList.toggle("leader", index === leader);
      row.fill.style.background = theme.colour(index);
      row.fill.style.transform = `scaleX(${smoothed ? smoothed[index] : 0})`;
      row.raw.style.left = `${100 * (raw ? raw[index] : 0)}%`;
      row.raw.hidden = !raw;
      setText(row.value, smoothed ? percentText(smoothed[index]) : "–");
    });
  }

  // Of many labels the likeliest are shown, each in its own place in the model's order.
  choose(smoothed) {
    const hidden = [...smoothed.keys()].filter((index) => !this.shown.has(index));
    hidden.sort((a, b) => smoothed[b] - smoothed[a]);
    for (const candidate of hidden) {
      const weakest = [...this.shown].reduce((a, b) => (smoothed[b] < smoothed[a] ? b : a));
      if (smoothed[candidate] < smoothed[weakest] + SWAP_AT) return;
      this.shown.delete(weakest);
      this.shown.add(candidate);
    }
  }

  // Tell a screen reader what changed, not every verdict.
  speak(said) {
    const plain = said.state === "decided" || said.state === "unsure";
    const text = `${said.label} ${plain ? "" : said.detail}`;
    const key = `${said.state} ${said.label}`;
    if (key === this.spoken || performance.now() - this.spokenAt < SPEAK_EVERY_MS) return;
    this.spoken = key;
    this.spokenAt = performance.now();
    setText(this.voice, text.trim());
  }
}

function barRow(label) {
  const item = document.createElement("li");
  const name = document.createElement("span");
  const track = document.createElement("span");
  const fill = document.createElement("i");
  const raw = document.createElement("b");
  const value = document.createElement("span");
  name.className = "name";
  name.textContent = name.title = labelText(label);
  track.className = "bar";
  fill.className = "fill";
  raw.className = "raw";
  value.className = "value";
  track.append(fill, raw);
  item.append(name, track, value);
  return { item, fill, raw, value };
}

// The width of an element's text on one line, in multiples of its font size.
function ems(element) {
  const pen = document.createElement("canvas").getContext("2d");
  const style = getComputedStyle(element);
  pen.font = `${style.fontWeight} 100px ${style.fontFamily}`;
  const text = element.textContent;
  return pen.measureText(text.charAt(0).toUpperCase() + text.slice(1)).width / 100;
}

// True if the text was another one.
function setText(element, text) {
  if (element.textContent === text) return false;
  element.textContent = text;
  return true;
}
