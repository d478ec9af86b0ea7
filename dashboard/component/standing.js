// What the page knows at this moment, decided once for the pill, the big label and the notice alike.

const SILENT_ENGINE_S = 6; // health comes every second

// `pill` is always said; `label` stands in the verdict's place where there is none to give.
const STANDINGS = {
  connecting: { pill: "Connecting", label: "Connecting…" },
  starting: { pill: "Starting", label: "Starting…" },
  live: { pill: "Live" },
  silent: { pill: "Silent" },
  stalled: { pill: "Stalled", label: "No audio" },
  reconnecting: { pill: "Reconnecting", label: "Reconnecting…" },
  failed: { pill: "Failed", label: "No audio" },
  ended: { pill: "Ended" },
  mute: { pill: "No news", label: "No news" },
};

function standing(link, health, now) {
  const quietS = health ? now - health.time : 0;
  const mute = quietS > SILENT_ENGINE_S;
  const state = mute ? "mute" : (health?.state ?? (link === "connecting" ? "connecting" : "starting"));
  return {
    state,
    ...STANDINGS[state],
    ...(link === "lost" && { pill: "Not connected" }),
    reason: mute ? `the engine last spoke ${wholeSecondsText(quietS)} ago` : (health?.reason ?? (link === "open" ? "waiting for the engine" : "")),
    warnings: mute || !health ? [] : health.warnings,
  };
}
