// Runs before the first paint: the colour scheme, so that a dark page never flashes white; and a second try for the
// page's own files, because browsers abort a fetch when the machine's networks change, and on a box that starts
// containers they change all the time.
// A plain file, not an inline script: the page's content security policy allows none.
(function () {
  var stored = null;
  try {
    stored = localStorage.getItem('mantine-color-scheme-value');
  } catch (e) {
    // storage may be blocked; the system's choice then applies
  }
  var dark = stored === 'dark' || (stored !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches);
  document.documentElement.setAttribute('data-mantine-color-scheme', dark ? 'dark' : 'light');

  var tries = 6;
  addEventListener(
    'error',
    function (event) {
      var failed = event.target;
      var isStyle = failed instanceof HTMLLinkElement && failed.rel === 'stylesheet';
      if (tries === 0 || !(isStyle || failed instanceof HTMLScriptElement)) return;
      tries -= 1;
      setTimeout(function () {
        var again = document.createElement(failed.tagName);
        for (var i = 0; i < failed.attributes.length; i += 1) {
          again.setAttribute(failed.attributes[i].name, failed.attributes[i].value);
        }
        failed.replaceWith(again);
      }, 300);
    },
    true,
  );
})();
