(function () {
  "use strict";
  var form = document.getElementById("filters");
  var rules = Array.prototype.slice.call(document.querySelectorAll("details.rule"));
  var chapters = Array.prototype.slice.call(document.querySelectorAll("section.chapter"));
  var query = document.getElementById("q");
  var level = document.getElementById("level");
  var severity = document.getElementById("severity");
  var shown = document.getElementById("shown");
  var nothing = document.getElementById("nothing");
  var texts = null;

  function apply() {
    var on = {};
    form.querySelectorAll("input[name=status]").forEach(function (box) { on[box.value] = box.checked; });
    var words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length && !texts) {
      texts = rules.map(function (rule) { return rule.textContent.toLowerCase(); });
    }
    var count = 0;
    rules.forEach(function (rule, index) {
      var fits = on[rule.dataset.s] &&
        (!level || !level.value || rule.dataset.l === level.value) &&
        (!severity || !severity.value || rule.dataset.v === severity.value) &&
        words.every(function (word) { return texts[index].indexOf(word) >= 0; });
      rule.hidden = !fits;
      if (fits) { count += 1; }
    });
    chapters.forEach(function (chapter) {
      chapter.hidden = !chapter.querySelector("details.rule:not([hidden])");
    });
    nothing.hidden = count > 0;
    shown.textContent = count + " of " + rules.length + " shown";
  }

  function openAll(open) {
    rules.forEach(function (rule) { if (!rule.hidden) { rule.open = open; } });
  }

  function follow() {
    var id = "";
    try { id = decodeURIComponent(location.hash.slice(1)); } catch (_) { return; }
    var target = id && document.getElementById(id);
    if (!target) { return; }
    if (target.hidden || target.querySelector("details.rule[hidden]")) { form.reset(); apply(); }
    if (target.tagName === "DETAILS") { target.open = true; }
    target.scrollIntoView();
  }

  form.hidden = false;
  form.addEventListener("input", apply);
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  form.addEventListener("reset", function () { setTimeout(apply, 0); });
  document.getElementById("expand").addEventListener("click", function () { openAll(true); });
  document.getElementById("collapse").addEventListener("click", function () { openAll(false); });
  document.addEventListener("keydown", function (event) {
    var typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      query.focus();
    }
  });
  addEventListener("hashchange", follow);

  // On paper, what needs a reader must show its evidence whether or not it was open on the screen.
  var opened = [];
  addEventListener("beforeprint", function () {
    opened = rules.filter(function (rule) {
      return !rule.hidden && !rule.open && rule.classList.contains("show");
    });
    opened.forEach(function (rule) { rule.open = true; });
  });
  addEventListener("afterprint", function () {
    opened.forEach(function (rule) { rule.open = false; });
    opened = [];
  });

  apply();
  follow();
})();
