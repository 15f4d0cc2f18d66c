// Applies the stored theme before the first paint; a classic script, so that nothing flashes.
(() => {
  let stored = null;
  try {
    stored = localStorage.getItem("agentkit.theme");
  } catch {
    // Storage may be blocked; then the system's theme applies.
  }
  if (stored === "light" || stored === "dark") document.documentElement.dataset.theme = stored;
})();
