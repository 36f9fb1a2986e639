(function () {
  "use strict";
  var root = document.documentElement;
  var button = document.getElementById("theme");
  var system = window.matchMedia("(prefers-color-scheme: dark)");
  function stored() {
    try { return localStorage.getItem("reidfw-theme"); } catch (error) { return null; }
  }
  function isDark() {
    return root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
  }
  function label() {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", "Show this page in " + (isDark() ? "light" : "dark") + " colours");
  }
  var kept = stored();
  if (kept === "dark" || kept === "light") { root.dataset.theme = kept; }
  button.hidden = false;
  button.addEventListener("click", function () {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("reidfw-theme", root.dataset.theme); } catch (error) { /* files may have no storage */ }
    label();
  });
  system.addEventListener("change", label);
  label();

  var opened = [];
  window.addEventListener("beforeprint", function () {
    opened = Array.prototype.filter.call(document.querySelectorAll("details"), function (part) { return !part.open; });
    opened.forEach(function (part) { part.open = true; });
  });
  window.addEventListener("afterprint", function () {
    opened.forEach(function (part) { part.open = false; });
  });

  function sortBy(header) {
    var table = header.closest("table");
    var place = Array.prototype.indexOf.call(header.parentNode.children, header);
    var descending = header.getAttribute("aria-sort")
      ? header.getAttribute("aria-sort") === "ascending"
      : header.dataset.first === "descending";
    table.querySelectorAll("th[aria-sort]").forEach(function (other) { other.removeAttribute("aria-sort"); });
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
    var body = table.tBodies[0];
    var rows = Array.prototype.slice.call(body.rows);
    rows.sort(function (one, other) {
      var first = one.cells[place].dataset.value, second = other.cells[place].dataset.value;
      if (first === "" || second === "") { return (first === "" ? 1 : 0) - (second === "" ? 1 : 0); }
      var order = header.dataset.sort === "number" ? Number(first) - Number(second) : first.localeCompare(second);
      return descending ? -order : order;
    });
    rows.forEach(function (row) { body.appendChild(row); });
  }
  document.querySelectorAll("th[data-sort]").forEach(function (header) {
    var handle = document.createElement("button");
    handle.type = "button";
    handle.title = "Sort by " + header.textContent.trim();
    while (header.firstChild) { handle.appendChild(header.firstChild); }
    header.appendChild(handle);
    handle.addEventListener("click", function () { sortBy(header); });
  });
}());
