(() => {
  if (document.querySelector('script[src*="memhelpers.js"]')) return;
  const load = (url) => new Promise((resolve, reject) => {
    const script = Object.assign(document.createElement("script"), {src: url});
    script.onload = resolve;
    script.onerror = () => reject(new Error("cannot load " + url));
    document.head.append(script);
  });
  const vega = () => {
    if (window.vegaEmbed) return Promise.resolve();
    const define = window.define;
    window.define = undefined;
    return URLS.reduce((before, url) => before.then(() => load(url)), Promise.resolve())
      .finally(() => { window.define = define; });
  };
  const label = (panel, labels) => Object.entries(labels).forEach(([name, texts]) => {
    const input = panel.querySelector(`input[name="${name}"]`);
    const show = () => { input.nextElementSibling.textContent = texts[input.value]; };
    ["input", "change"].forEach((event) => input.addEventListener(event, show));
    show();
  });
  const draw = async (figure) => {
    await window.memhelpersVega;
    const panels = [];
    for (const spec of JSON.parse(figure.querySelector(".mem-spec").textContent)) {
      const panel = document.createElement("div");
      const title = document.createElement("p");
      title.style.fontWeight = "bold";
      title.textContent = spec.title || "";
      delete spec.title;
      panel.style.width = "100%";
      figure.querySelector(".mem-chart").append(title, panel);
      await window.vegaEmbed(panel, spec, {actions: false, renderer: "svg", mode: "vega-lite"});
      label(panel, ((spec.usermeta || {}).memhelpers || {}).labels || {});
      panels.push(panel);
    }
    if (panels.length) figure.querySelector(".mem-still")?.remove();
  };
  window.memhelpersVega = window.memhelpersVega || vega();
  for (const figure of document.querySelectorAll(".mem-figure:not([data-watched])")) {
    figure.dataset.watched = true;
    new ResizeObserver((_, watch) => {  // a panel that is not chosen has no width yet
      if (!figure.clientWidth) return;
      watch.disconnect();
      draw(figure).catch((error) => console.warn("the chart stays a picture:", error.message));
    }).observe(figure);
  }
})();
