// A file that is dropped where nothing takes it would make the browser show it instead of this page.

for (const kind of ["dragover", "drop"]) {
  document.addEventListener(kind, (event) => {
    const files = event.dataTransfer?.types.includes("Files");
    if (!files || event.defaultPrevented || event.target.matches?.("input[type=file]")) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "none";
  });
}
