// Starts both pictures; handles links to a time, light and dark mode, and printing with everything unfolded.
timeline.start();
client.start();
for (const link of document.querySelectorAll("a[data-from]")) {
  link.addEventListener("click", () => { if (timeline.data) timeline.show(Number(link.dataset.from), Number(link.dataset.to)); });
}
const redraw = () => { if (timeline.data) timeline.draw(); client.draw(); };
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
const folded = [];
addEventListener("beforeprint", () => { for (const d of document.querySelectorAll("details:not([open])")) { d.open = true; folded.push(d); } });
addEventListener("afterprint", () => { for (const d of folded.splice(0)) d.open = false; });
