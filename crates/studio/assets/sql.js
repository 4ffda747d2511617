// The box for a query: Ctrl+Enter runs it. Without this script the button does.

document.querySelector("#sql")?.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    event.target.form.requestSubmit();
  }
});
