// Where the audio comes from and how it fares, the connection, and the figures at the foot.

const REFUSAL_SHOWN_MS = 10_000;

class StatusView {
  constructor(page) {
    this.page = page;
    this.find = (selector) => page.querySelector(selector);
    this.link = { state: "connecting", retryAt: null };
    this.drawn = []; // milliseconds from capture to screen, of the last verdicts
    this.refusal = null;
  }

  start(hello) {
    this.hello = hello;
    this.health = hello.health;
    this.settings = hello.settings;
    this.refusal = null;
  }

  change(settings) {
    this.settings = settings;
    this.refusal = settings.refused && { text: settings.refused, until: performance.now() + REFUSAL_SHOWN_MS };
  }

  // A verdict captured at `captured` (Unix s) was drawn just now, by the server's clock.
  drew(captured, serverNow) {
    this.drawn.push(1000 * (serverNow - captured));
    if (this.drawn.length > 180) this.drawn.shift();
  }

  // `known` comes from standing().
  paint(known) {
    this.paintLink();
    const health = this.health;
    this.page.dataset.audio = known.state;
    setText(this.find(".health"), known.pill);
    this.paintNotice(known);
    if (!health) return;
    setText(this.find(".source-name"), health.source_name);
    setText(this.find(".title"), health.title ?? "");
    this.find(".synthetic").hidden = !health.synthetic;
    this.paintFigures(health);
  }

  paintNotice(known) {
    if (this.refusal && performance.now() > this.refusal.until) this.refusal = null;
    // Where a reason stands in the place of the verdict, it need not be said twice.
    const said = [this.refusal?.text, known.label ? "" : known.reason, ...known.warnings].filter(Boolean);
    const notice = this.find(".said");
    notice.hidden = said.length === 0;
    notice.classList.toggle("warning", known.state !== "ended" || said.length > 1);
    setText(notice, said.join(" · "));
  }

  paintLink() {
    const { state, retryAt } = this.link;
    this.page.dataset.link = state;
    this.find(".lost").hidden = state !== "lost";
    if (state === "lost") {
      const waitS = Math.max(0, Math.ceil((retryAt - performance.now()) / 1000));
      setText(this.find(".lost .next"), waitS > 1 ? `Trying again in ${waitS} s.` : "Trying again…");
    }
  }

  paintFigures(health) {
    const both = (p50, p95) => `${millisecondsText(p50)} ms, 95 % in ${millisecondsText(p95)} ms`;
    const known = health.latency_p50_ms !== null && health.latency_p95_ms !== null;
    setText(this.find(".to-label"), known ? both(health.latency_p50_ms, health.latency_p95_ms) : "–");
    if (this.drawn.length >= 3) {
      const sorted = this.drawn.toSorted((a, b) => a - b);
      setText(this.find(".to-screen"), both(percentile(sorted, 0.5), percentile(sorted, 0.95)));
    } else {
      setText(this.find(".to-screen"), "–");
    }
    setText(this.find(".dropped"), String(health.dropped));
    setText(this.find(".gaps"), String(health.gaps));
    setText(this.find(".reconnects"), String(health.reconnects));
    setText(this.find(".level"), health.level_dbfs === null ? "–" : `${decibelText(health.level_dbfs)}FS`);
    const { model, scorer, window_s: windowS, hop_s: hopS } = this.hello;
    setText(
      this.find(".model-name"),
      `${model} (${scorer}), ${windowS.toFixed(1)} s every ${hopS.toFixed(2)} s, half-life ${this.settings.half_life_s} s`,
    );
  }
}
