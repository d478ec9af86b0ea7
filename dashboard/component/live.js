// The component: one live view per place in the page, which outlives Streamlit's reruns.

const DRAWN_KEPT = 600;
const ASK_TOKEN_EVERY_MS = 5_000;
const views = new WeakMap();

class LiveView {
  constructor(root, { data, setTriggerValue }) {
    this.page = root.querySelector(".page");
    this.colours = data.colours;
    this.setTriggerValue = setTriggerValue;
    this.askedAt = -Infinity;
    this.calm = window.matchMedia("(prefers-reduced-motion: reduce)");
    this.verdictView = new VerdictView(this.page);
    this.statusView = new StatusView(this.page);
    this.spectrogram = new Spectrogram(this.page.querySelector(".spectrogram canvas"));
    this.strip = new Strip(this.page.querySelector(".strip"));
    this.fresh = null; // the verdict that came since the last paint
    this.report = { drawn: [], frames: 0, state: "connecting" };
    window.__genrescope = this.report;
    this.retheme();
    this.sizes = new ResizeObserver(() => {
      this.retheme();
      this.ask(true);
    });
    this.sizes.observe(this.page);
    this.link = new LiveLink(data.path, data.token, {
      message: (message) => this.receive(message),
      columns: (columns) => {
        this.spectrogram.add(columns);
        this.ask(!this.calm.matches);
      },
      state: (state, retryAt) => {
        this.report.state = state;
        this.statusView.link = { state, retryAt };
        this.ask(true);
      },
      stale: () => this.askToken(),
    });
    // Durations go on when nothing comes.
    this.clock = setInterval(() => this.ask(true), 1000);
  }

  update({ data, setTriggerValue }) {
    this.setTriggerValue = setTriggerValue;
    this.colours = data.colours;
    this.retheme();
    this.link.renew(data.token);
    this.ask(true);
  }

  retheme() {
    this.theme = readTheme(this.page, this.colours);
    this.page.dataset.dark = this.theme.dark;
  }

  askToken() {
    if (performance.now() - this.askedAt < ASK_TOKEN_EVERY_MS) return;
    this.askedAt = performance.now();
    this.setTriggerValue("token", Date.now());
  }

  receive(message) {
    switch (message.type) {
      case "hello":
        setTitles(message.titles);
        for (const view of [this.verdictView, this.statusView, this.spectrogram, this.strip]) view.start(message);
        this.fresh = null;
        this.page.dataset.ready = "";
        break;
      case "verdict":
        this.verdictView.verdict = message;
        this.strip.add(message);
        this.fresh = message;
        break;
      case "health":
        this.statusView.health = message;
        break;
      case "settings":
        this.statusView.change(message);
        break;
    }
    this.ask(true);
  }

  // Paint with the next frame of the screen; `all` false leaves it to the next second.
  ask(now) {
    if (!now || this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = null;
      this.paint();
    });
  }

  paint() {
    const now = this.link.serverNow();
    const theme = this.theme;
    this.spectrogram.paint(theme);
    const second = Math.floor(now);
    if (this.fresh || second !== this.paintedSecond) {
      this.paintedSecond = second;
      const { link, health } = this.statusView;
      const known = standing(link.state, health, now);
      this.verdictView.paint(theme, now, known);
      this.strip.paint(theme, now);
      this.statusView.paint(known);
    } else {
      this.statusView.paintLink();
    }
    this.report.frames += 1;
    if (this.fresh) this.drew(this.fresh);
    this.fresh = null;
  }

  // Of the verdicts that came since the last frame, the newest is the one that was drawn.
  drew(verdict) {
    const { drawn } = this.report;
    drawn.push({ sample: verdict.sample, captured: verdict.time, drawn: Date.now() });
    if (drawn.length > DRAWN_KEPT) drawn.shift();
    if (this.link.clockOffsetMs !== null) this.statusView.drew(verdict.time, this.link.serverNow());
  }

  close() {
    this.link.close();
    clearInterval(this.clock);
    cancelAnimationFrame(this.frame);
    this.sizes.disconnect();
  }
}

function readTheme(page, colours) {
  const style = getComputedStyle(page);
  const value = (name) => style.getPropertyValue(name).trim();
  const [red, green, blue] = rgb(value("--st-background-color"));
  const dark = 0.3 * red + 0.59 * green + 0.11 * blue < 128;
  const palette = colours[dark ? "dark" : "light"];
  return {
    dark,
    ground: value("--st-background-color"),
    panel: value("--st-secondary-background-color"),
    text: value("--st-text-color"),
    muted: getComputedStyle(page.querySelector(".key")).color,
    line: value("--st-border-color"),
    onColour: dark ? "#0e1114" : "#ffffff",
    font: style.fontFamily,
    small: Math.min(17, Math.max(12, page.clientWidth / 110)), // of axes and names, in pixels
    colour: (index) => palette[((index % palette.length) + palette.length) % palette.length],
  };
}

// Any CSS colour as its red, green and blue.
function rgb(colour) {
  const pen = document.createElement("canvas").getContext("2d");
  pen.fillStyle = colour;
  pen.fillRect(0, 0, 1, 1);
  return pen.getImageData(0, 0, 1, 1).data;
}

export default function (component) {
  const root = component.parentElement;
  const view = views.get(root);
  if (view) view.update(component);
  else views.set(root, new LiveView(root, component));
  // Streamlit calls the latest of these when the component leaves the page, not between reruns.
  return () => {
    views.get(root)?.close();
    views.delete(root);
  };
}
