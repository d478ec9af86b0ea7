// The live socket: connects, says where it stands, notices a silent death, comes back by itself.

const TOKEN_REFUSED = 4401;
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 10_000;
const OPEN_WITHIN_MS = 8_000;
const PING_EVERY_MS = 2_000;
const PONG_WITHIN_MS = 6_500;
const PINGS_KEPT = 10;
const CLOCK_STEP_MS = 50; // clocks that differ by more than the pings can explain, and this, have been set

class LiveLink {
  // handlers: message(object), columns(ArrayBuffer), state("connecting" | "open" | "lost", retry time by performance.now()),
  // stale() when the token is refused.
  constructor(path, token, handlers) {
    this.path = path;
    this.token = token;
    this.handlers = handlers;
    this.cursor = { boot: "", column: 0, message: 0 };
    this.retryMs = FIRST_RETRY_MS;
    this.pings = []; // the last ones, by this window's steady clock: the machine's may be set at any time
    this.clockOffsetMs = null; // the server's clock minus performance.now()
    this.closed = false;
    this.retryNow = () => {
      if (this.waiting && document.visibilityState === "visible") this.connect();
    };
    window.addEventListener("online", this.retryNow);
    document.addEventListener("visibilitychange", this.retryNow);
    this.pinger = setInterval(() => this.ping(), PING_EVERY_MS);
    this.connect();
  }

  renew(token) {
    const changed = this.token !== token;
    this.token = token;
    if (changed && this.waiting && this.refused) this.connect();
  }

  connect() {
    this.drop();
    this.live = this.waiting = false;
    this.pings = [];
    if (this.cursor.boot === "") this.handlers.state("connecting", null);
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}${this.path}`);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.timer = setTimeout(() => this.lost(), OPEN_WITHIN_MS);
    socket.onopen = () => {
      clearTimeout(this.timer);
      this.timer = null;
      socket.send(JSON.stringify({ token: this.token, ...this.cursor }));
      this.heard = performance.now();
      this.ping();
    };
    socket.onmessage = (event) => this.receive(event.data);
    socket.onclose = (event) => this.lost(event.code);
  }

  receive(data) {
    this.heard = performance.now();
    this.retryMs = FIRST_RETRY_MS;
    this.refused = false;
    if (!this.live) {
      this.live = true;
      this.handlers.state("open", null);
    }
    if (typeof data !== "string") {
      const header = new DataView(data);
      this.cursor.column = header.getFloat64(8, true) + header.getUint32(4, true);
      this.handlers.columns(data);
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "token") {
      this.token = message.token;
    } else if (message.type === "pong") {
      this.tune(message);
    } else {
      if (message.type === "hello") this.cursor = { boot: message.boot, column: 0, message: message.message };
      else this.cursor.message += 1;
      this.handlers.message(message);
    }
  }

  tune({ at, now }) {
    const roundMs = performance.now() - at;
    const ping = { roundMs, offsetMs: now - (at + roundMs / 2) };
    // Those that contradict the newest are from before the server's clock was set.
    const agrees = (other) =>
      Math.abs(other.offsetMs - ping.offsetMs) <= (other.roundMs + ping.roundMs) / 2 + CLOCK_STEP_MS;
    this.pings = [...this.pings.filter(agrees), ping].slice(-PINGS_KEPT);
    this.clockOffsetMs = this.pings.reduce((best, each) => (each.roundMs < best.roundMs ? each : best)).offsetMs;
  }

  serverNow() {
    return (this.clockOffsetMs === null ? Date.now() : performance.now() + this.clockOffsetMs) / 1000;
  }

  ping() {
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    // A server that has stopped would not answer a closing handshake either: do not wait for one.
    if (performance.now() - this.heard > PONG_WITHIN_MS) this.lost();
    else this.socket.send(JSON.stringify({ ping: performance.now() }));
  }

  lost(code) {
    this.drop();
    if (this.closed) return;
    if (code === TOKEN_REFUSED) {
      this.refused = true;
      this.handlers.stale();
    }
    const waitMs = this.retryMs * (0.75 + 0.5 * Math.random());
    this.retryMs = Math.min(2 * this.retryMs, LONGEST_RETRY_MS);
    this.timer = setTimeout(() => this.connect(), waitMs);
    this.waiting = true;
    this.handlers.state("lost", performance.now() + waitMs);
  }

  drop() {
    clearTimeout(this.timer);
    this.timer = null;
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  close() {
    this.closed = true;
    this.waiting = false;
    clearInterval(this.pinger);
    window.removeEventListener("online", this.retryNow);
    document.removeEventListener("visibilitychange", this.retryNow);
    this.drop();
  }
}
