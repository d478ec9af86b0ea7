// The scrolling spectrogram. Columns are written once into an off-screen ring; painting is one or two scaled copies of it.

const RANGE_DB = 60; // from the darkest to the brightest colour
const RANGE_STEP_DB = 10; // the range moves in steps, so that colours do not flicker
const PEAK_FALLS_DB_PER_S = 0.25; // so that what was loud is off the screen before the colours change
const PIXELS_PER_SECOND = 36;
const SPAN_S = [8, 60];
const QUIET_S = 2; // what is drawn is no longer the present then

class Spectrogram {
  constructor(canvas) {
    this.canvas = canvas;
    this.ring = document.createElement("canvas");
    this.hello = null;
  }

  start(hello) {
    this.hello = hello;
    this.capacity = Math.ceil(hello.kept_s / hello.seconds_per_column) + 1;
    this.levels = new Uint8Array(this.capacity * hello.n_mels);
    this.ring.width = this.capacity;
    this.ring.height = hello.n_mels;
    this.pen = this.ring.getContext("2d", { willReadFrequently: false });
    this.first = this.end = 0;
    this.peakDb = -Infinity;
    this.topDb = null;
  }

  // One binary message of the socket: see dashboard/wire.py.
  add(data) {
    if (!this.hello) return;
    const header = new DataView(data);
    const count = header.getUint32(4, true);
    const index = header.getFloat64(8, true);
    const bytes = new Uint8Array(data, 24);
    const bands = this.hello.n_mels;
    if (this.end === 0) this.first = index;
    // Columns that were lost on the way stay blank.
    for (let blank = Math.max(this.end, index - this.capacity); this.end && blank < index; blank += 1) {
      this.put(blank, null);
    }
    for (let column = Math.max(0, count - this.capacity); column < count; column += 1) {
      this.put(index + column, bytes.subarray(column * bands, (column + 1) * bands));
    }
    this.end = index + count;
    this.arrived = performance.now();
    const changed = this.range();
    if (changed) this.colour(Math.max(this.first, this.end - this.capacity), this.end);
    else this.colour(Math.max(index, this.end - this.capacity), this.end);
  }

  put(index, column) {
    const bands = this.hello.n_mels;
    const at = (index % this.capacity) * bands;
    if (column) this.levels.set(column, at);
    else this.levels.fill(0, at, at + bands);
    let highest = 0;
    for (let band = 0; band < bands; band += 1) highest = Math.max(highest, this.levels[at + band]);
    const db = highest ? this.hello.low_db + (highest - 1) * this.hello.step_db : -Infinity;
    this.peakDb = Math.max(db, this.peakDb - PEAK_FALLS_DB_PER_S * this.hello.seconds_per_column);
  }

  // Follow the loudest of the last minute; true if the colours of what is drawn must change.
  range() {
    const lowest = this.hello.low_db + RANGE_DB;
    const wanted = Math.max(lowest, RANGE_STEP_DB * Math.ceil(this.peakDb / RANGE_STEP_DB));
    if (!Number.isFinite(wanted)) return false;
    const falls = this.topDb !== null && wanted < this.topDb && this.peakDb > this.topDb - 1.5 * RANGE_STEP_DB;
    if (wanted === this.topDb || falls) return false;
    this.topDb = wanted;
    return true;
  }

  colour(from, to) {
    if (this.topDb === null) return;
    const bands = this.hello.n_mels;
    for (let start = from; start < to; ) {
      const at = start % this.capacity;
      const count = Math.min(to - start, this.capacity - at);
      const image = this.pen.createImageData(count, bands);
      for (let column = 0; column < count; column += 1) {
        for (let band = 0; band < bands; band += 1) {
          const level = this.levels[(at + column) * bands + band];
          if (level === 0) continue; // never heard: stays transparent
          const db = this.hello.low_db + (level - 1) * this.hello.step_db;
          const shade = Math.max(0, Math.min(255, Math.round((255 * (db - this.topDb + RANGE_DB)) / RANGE_DB)));
          const pixel = 4 * ((bands - 1 - band) * count + column);
          image.data[pixel] = COLOUR_MAP[3 * shade];
          image.data[pixel + 1] = COLOUR_MAP[3 * shade + 1];
          image.data[pixel + 2] = COLOUR_MAP[3 * shade + 2];
          image.data[pixel + 3] = 255;
        }
      }
      this.pen.putImageData(image, at, 0);
      start += count;
    }
  }

  paint(theme) {
    const { pen, width, height } = fitCanvas(this.canvas);
    const plot = { x: 4.8 * theme.small, y: 8, width: width - 10 * theme.small, height: height - 14 - 1.7 * theme.small };
    pen.clearRect(0, 0, width, height);
    if (!this.hello || plot.width < 20) return;
    const step = this.hello.seconds_per_column;
    const spanS = Math.min(SPAN_S[1], Math.max(SPAN_S[0], plot.width / PIXELS_PER_SECOND));
    pen.font = `${theme.small}px ${theme.font}`;
    pen.fillStyle = theme.panel;
    pen.fillRect(plot.x, plot.y, plot.width, plot.height);

    const oldest = Math.max(this.first, this.end - this.capacity + 1, this.end - Math.ceil(spanS / step));
    const x = (index) => plot.x + plot.width - ((this.end - index) * step * plot.width) / spanS;
    pen.save();
    pen.beginPath();
    pen.rect(plot.x, plot.y, plot.width, plot.height);
    pen.clip();
    if (this.end > oldest) {
      pen.fillStyle = theme.hatch ??= hatch(pen, theme);
      pen.fillRect(x(oldest), plot.y, plot.x + plot.width - x(oldest), plot.height);
    }
    for (let start = oldest; start < this.end; ) {
      const at = start % this.capacity;
      const count = Math.min(this.end - start, this.capacity - at);
      const left = x(start);
      pen.drawImage(
        this.ring, at, 0, count, this.hello.n_mels, left, plot.y, x(start + count) - left, plot.height,
      );
      start += count;
    }
    pen.restore();
    const quietS = (performance.now() - (this.arrived ?? performance.now())) / 1000;
    this.axes(pen, theme, plot, spanS, quietS > QUIET_S ? "last heard" : "now");
    this.legend(pen, theme, plot);
    if (quietS > QUIET_S) this.note(pen, theme, plot, `no audio for ${wholeSecondsText(quietS)}`);
  }

  axes(pen, theme, plot, spanS, newest) {
    pen.fillStyle = theme.muted;
    pen.strokeStyle = theme.line;
    pen.lineWidth = 1;
    pen.textBaseline = "middle";
    pen.textAlign = "right";
    let free = Infinity;
    const bands = this.hello.n_mels;
    for (const tick of this.hello.ticks) {
      // Position 0 is the middle of the lowest band, half a band above the edge.
      const y = plot.y + plot.height * (1 - (0.5 + tick.position * (bands - 1)) / bands);
      if (y > free - 1.5 * theme.small) continue;
      free = y;
      pen.fillText(tick.text, plot.x - 8, y);
      line(pen, plot.x - 5, y, plot.x - 1, y);
    }
    pen.textBaseline = "top";
    pen.textAlign = "center";
    const every = [1, 2, 5, 10].find((seconds) => (seconds * plot.width) / spanS >= 6 * theme.small) ?? 10;
    for (let seconds = 0; seconds <= spanS; seconds += every) {
      const at = plot.x + plot.width - (seconds * plot.width) / spanS;
      if (at < plot.x + theme.small) break;
      const bottom = plot.y + plot.height;
      line(pen, at, bottom + 1, at, bottom + 5);
      pen.fillText(seconds === 0 ? newest : `${MINUS}${seconds} s`, at, bottom + 9);
    }
  }

  legend(pen, theme, plot) {
    if (this.topDb === null) return;
    const left = plot.x + plot.width + 10;
    const shades = pen.createLinearGradient(0, plot.y + plot.height, 0, plot.y);
    for (let stop = 0; stop <= 16; stop += 1) {
      const at = 3 * Math.round((255 * stop) / 16);
      shades.addColorStop(stop / 16, `rgb(${COLOUR_MAP[at]} ${COLOUR_MAP[at + 1]} ${COLOUR_MAP[at + 2]})`);
    }
    pen.fillStyle = shades;
    pen.fillRect(left, plot.y, 8, plot.height);
    pen.fillStyle = theme.muted;
    pen.textAlign = "left";
    pen.textBaseline = "middle";
    for (let below = 0; below <= RANGE_DB; below += plot.height > 160 ? 20 : 30) {
      const y = plot.y + (plot.height * below) / RANGE_DB;
      pen.fillText(decibelText(this.topDb - below), left + 12, Math.max(plot.y + theme.small / 2, y));
    }
  }

  note(pen, theme, plot, text) {
    pen.textAlign = "right";
    pen.textBaseline = "top";
    const width = pen.measureText(text).width;
    const right = plot.x + plot.width - 10;
    pen.fillStyle = theme.ground;
    pen.globalAlpha = 0.85;
    pen.fillRect(right - width - 10, plot.y + 8, width + 16, 2 * theme.small);
    pen.globalAlpha = 1;
    pen.fillStyle = theme.text;
    pen.fillText(text, right - 2, plot.y + 8 + theme.small / 2);
  }
}

function line(pen, fromX, fromY, toX, toY) {
  pen.beginPath();
  pen.moveTo(fromX, fromY);
  pen.lineTo(toX, toY);
  pen.stroke();
}

// Size a canvas's pixels to its place on the screen; its pen then draws in CSS pixels.
function fitCanvas(canvas) {
  const scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  return { pen, width, height };
}

// Diagonal lines: something is missing or not known here.
function hatch(pen, theme) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const brush = tile.getContext("2d");
  brush.fillStyle = theme.panel;
  brush.fillRect(0, 0, 8, 8);
  brush.strokeStyle = theme.muted;
  brush.lineWidth = 1.5;
  for (const shift of [-8, 0, 8]) line(brush, shift, 8, shift + 8, 0);
  return pen.createPattern(tile, "repeat");
}
