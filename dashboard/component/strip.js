// The strip of the last minutes' verdicts: one colour per label, pale while warming up, silence low and grey, "not sure"
// hatched, and what is heard instead, speech or other sounds, in a grey of its own.

const PALE = 0.4;
const GREYS = [0.25, 0.75, 0.5]; // how much of the muted colour
const STATE_WORDS = { silence: "silence", unsure: "not sure", "warming-up": "listening" };

class Strip {
  constructor(figure) {
    this.canvas = figure.querySelector("canvas");
    this.tip = figure.querySelector(".tip");
    this.legendList = figure.querySelector(".legend");
    this.points = [];
    this.labels = [];
    this.instead = [];
    this.bounds = { kept_s: 600, join_s: 0, apart_s: 0 };
    this.caption = figure.querySelector("figcaption");
    this.shownLegend = "";
    this.canvas.addEventListener("pointermove", (event) => this.point(event.offsetX));
    this.canvas.addEventListener("pointerdown", (event) => this.point(event.offsetX));
    this.canvas.addEventListener("pointerleave", () => this.unpoint());
    this.canvas.addEventListener("blur", () => this.unpoint());
    this.canvas.addEventListener("keydown", (event) => this.step(event));
  }

  start(hello) {
    this.labels = hello.labels;
    this.instead = hello.instead;
    this.points = hello.strip.points;
    this.bounds = hello.strip;
    this.caption.textContent = `The last ${Math.round(hello.strip.kept_s / 60)} minutes`;
  }

  add(verdict) {
    // The clock was set back, or a file was heard faster than it plays: what is said to be later is not.
    while (this.points.at(-1)?.[0] > verdict.time) this.points.pop();
    const last = this.points.at(-1);
    const same = last && last[1] === verdict.state && last[2] === verdict.label && last[4] === verdict.instead;
    const apart = last ? verdict.time - last[0] : Infinity;
    if (same && apart < this.bounds.apart_s) return;
    this.points.push([verdict.time, verdict.state, verdict.label, verdict.confidence, verdict.instead]);
    while (this.points[0][0] < verdict.time - this.bounds.kept_s) this.points.shift();
  }

  runs() {
    const runs = [];
    for (const [time, state, label, confidence, instead] of this.points) {
      const run = runs.at(-1);
      const near = run && time - run.end <= this.bounds.join_s;
      if (near) run.end = time;
      if (near && run.state === state && run.label === label && run.instead === instead) {
        run.sum += confidence ?? 0;
        run.count += 1;
      } else {
        runs.push({ start: time, end: time, state, label, instead, sum: confidence ?? 0, count: 1 });
      }
    }
    return runs;
  }

  paint(theme, now) {
    const { pen, width, height } = fitCanvas(this.canvas);
    const bar = { y: 2, height: height - 10 - 1.5 * theme.small };
    this.now = Math.max(now, this.points.at(-1)?.[0] ?? now); // a file may be heard faster than it plays
    this.width = width;
    this.shown = this.runs();
    pen.clearRect(0, 0, width, height);
    pen.font = `${theme.small}px ${theme.font}`;
    pen.fillStyle = theme.panel;
    pen.fillRect(0, bar.y, width, bar.height);
    const hatched = (theme.hatch ??= hatch(pen, theme));
    for (const run of this.shown) {
      const left = Math.max(0, this.x(run.start));
      const wide = Math.max(1, this.x(run.end) - left);
      if (run.label !== null) {
        const pale = run.state !== "decided";
        pen.globalAlpha = pale ? PALE : 1;
        pen.fillStyle = theme.colour(this.labels.indexOf(run.label));
        pen.fillRect(left, bar.y, wide, bar.height);
        pen.globalAlpha = 1;
        this.name(pen, pale ? theme.text : theme.onColour, run.label, left, wide, bar);
      } else if (run.instead) {
        pen.globalAlpha = this.grey(run.instead);
        pen.fillStyle = theme.muted;
        pen.fillRect(left, bar.y, wide, bar.height);
        pen.globalAlpha = 1;
        this.name(pen, theme.text, run.instead, left, wide, bar);
      } else if (run.state === "unsure") {
        pen.fillStyle = hatched;
        pen.fillRect(left, bar.y, wide, bar.height);
      } else if (run.state === "silence") {
        pen.fillStyle = theme.muted;
        pen.fillRect(left, bar.y + bar.height - 5, wide, 5);
      }
    }
    this.axis(pen, theme, width, bar);
    this.legend(theme);
    this.canvas.setAttribute("aria-label", this.summary());
  }

  grey(other) {
    return GREYS[Math.max(0, this.instead.indexOf(other)) % GREYS.length];
  }

  x(time) {
    return this.width * (1 - (this.now - time) / this.bounds.kept_s);
  }

  name(pen, colour, label, left, wide, bar) {
    const text = labelText(label);
    if (pen.measureText(text).width + 12 > wide) return;
    pen.fillStyle = colour;
    pen.textAlign = "left";
    pen.textBaseline = "middle";
    pen.fillText(text, left + 7, bar.y + bar.height / 2 + 1);
  }

  axis(pen, theme, width, bar) {
    pen.fillStyle = theme.muted;
    pen.strokeStyle = theme.line;
    pen.textBaseline = "top";
    const bottom = bar.y + bar.height;
    const every = width > 600 ? 1 : 2;
    const span = this.bounds.kept_s / 60;
    for (let minutes = 0; minutes <= span; minutes += every) {
      const at = width * (1 - minutes / span);
      line(pen, at, bottom + 1, at, bottom + 5);
      pen.textAlign = minutes === 0 ? "right" : minutes === span ? "left" : "center";
      pen.fillText(minutes === 0 ? "now" : `${MINUS}${minutes} min`, at, bottom + 9);
    }
  }

  legend(theme) {
    const heard = this.labels.filter((label) => this.shown.some((run) => run.label === label));
    const states = ["unsure", "silence"].filter((state) => this.shown.some((run) => run.state === state && !run.instead));
    const others = this.instead.filter((other) => this.shown.some((run) => run.instead === other));
    const wanted = JSON.stringify([heard, states, others, theme.dark]);
    if (wanted === this.shownLegend) return;
    this.shownLegend = wanted;
    this.legendList.replaceChildren(
      ...heard.map((label) => legendItem(labelText(label), "decided", { background: theme.colour(this.labels.indexOf(label)) })),
      ...states.map((state) => legendItem(STATE_WORDS[state], state)),
      ...others.map((other) => legendItem(labelText(other), "instead", { opacity: this.grey(other) })),
    );
  }

  summary() {
    const totals = new Map();
    for (const run of this.shown) {
      const name = wordsOf(run);
      totals.set(name, (totals.get(name) ?? 0) + run.end - run.start);
    }
    const parts = [...totals].filter(([, seconds]) => seconds >= 1).sort((a, b) => b[1] - a[1]);
    return `${this.caption.textContent}: ${parts.map(([name, seconds]) => `${name} ${wholeSecondsText(seconds)}`).join(", ") || "nothing yet"}`;
  }

  step(event) {
    const moves = { ArrowLeft: -1, ArrowRight: 1 };
    if (!(event.key in moves) || !this.shown?.length) return;
    event.preventDefault();
    const at = this.pointed === undefined ? this.shown.length : this.shown.indexOf(this.pointed);
    this.tell(this.shown[Math.min(this.shown.length - 1, Math.max(0, at + moves[event.key]))]);
  }

  point(x) {
    const run = this.shown?.findLast((each) => this.x(each.start) <= x + 1 && x - 1 <= this.x(each.end));
    if (run) this.tell(run);
    else this.unpoint();
  }

  tell(run) {
    this.pointed = run;
    const named = run.label !== null && `${labelText(run.label)}, ${percentText(run.sum / run.count)}`;
    const what = named ? named + (run.state === "decided" ? "" : " while warming up") : wordsOf(run);
    this.tip.textContent = `${what} · ${clockText(run.start)} to ${clockText(run.end)} · ${wholeSecondsText(run.end - run.start)}`;
    this.tip.hidden = false;
    const middle = (this.x(run.start) + this.x(run.end)) / 2 - this.tip.offsetWidth / 2;
    this.tip.style.left = `${Math.max(0, Math.min(this.width - this.tip.offsetWidth, middle))}px`;
  }

  unpoint() {
    this.pointed = undefined;
    this.tip.hidden = true;
  }
}

// What was heard in a run: a label, something that has none, or a state.
function wordsOf(run) {
  if (run.label !== null) return labelText(run.label);
  return run.instead ? labelText(run.instead) : STATE_WORDS[run.state];
}

function legendItem(text, state, style = {}) {
  const item = document.createElement("li");
  const mark = document.createElement("i");
  mark.className = `mark ${state}`;
  Object.assign(mark.style, style);
  item.append(mark, text);
  return item;
}
