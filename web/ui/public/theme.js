// Sets the colour scheme before the first paint, so that a dark page never flashes white.
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
})();
