// The pages' one script: copies what a button names, and says whether helexa is ready.
"use strict";

const COPIED_MS = 2000;
const HEALTH_MS = 2000;

async function copyText(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  // Browsers offer the clipboard to secure pages only; plain HTTP on a private network is not one.
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "unseen";
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (!copied) throw new Error("copy refused");
}

function selectAll(element) {
  getSelection().selectAllChildren(element);
}

function offerCopies(button) {
  const label = button.innerHTML;
  let reset;
  button.setAttribute("aria-live", "polite");
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copies);
    try {
      await copyText(source.textContent.trim());
      button.textContent = "Copied";
    } catch {
      selectAll(source);
      button.textContent = "Press Ctrl+C";
    }
    clearTimeout(reset);
    reset = setTimeout(() => { button.innerHTML = label; }, COPIED_MS);
  });
}

async function askHealth(url) {
  try {
    const answer = await fetch(url, { cache: "no-store", headers: { Accept: "application/json" } });
    const health = await answer.json();
    if (typeof health.ready !== "boolean") throw new Error("no health");
    return health;
  } catch {
    return { ready: false, reasons: ["This page cannot reach the gateway."] };
  }
}

function inWords(health) {
  if (!health.ready) return "Not ready";
  const healthy = health.neurons?.healthy ?? 0;
  return `Ready, with ${healthy} healthy ${healthy === 1 ? "neuron" : "neurons"}`;
}

function showHealth(panel, health) {
  const word = panel.querySelector("[data-health-word]");
  const reasons = panel.querySelector("[data-health-reasons]");
  panel.dataset.state = health.ready ? "ready" : "unready";
  // Screen readers announce changes: nothing is written that is there already.
  if (word.textContent !== inWords(health)) word.textContent = inWords(health);
  const wanted = health.ready ? [] : health.reasons ?? [];
  if (JSON.stringify(wanted) === reasons.dataset.shown) return;
  reasons.dataset.shown = JSON.stringify(wanted);
  reasons.replaceChildren(...wanted.map((reason) => {
    const item = document.createElement("li");
    item.textContent = reason;
    return item;
  }));
}

async function watchHealth(panel) {
  for (;;) {
    if (!document.hidden) showHealth(panel, await askHealth(panel.dataset.health));
    await new Promise((resolve) => { setTimeout(resolve, HEALTH_MS); });
  }
}

document.querySelectorAll("[data-copies]").forEach(offerCopies);
document.querySelectorAll("[data-health]").forEach(watchHealth);
document.querySelectorAll("[data-address-after]").forEach((element) => {
  history.replaceState(null, "", element.dataset.addressAfter);
});
