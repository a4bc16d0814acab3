// Build and development set-up: production output goes to dist/ (the daemon embeds it), development proxies to a box.
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

const box = process.env.KFBOX_URL ?? 'http://127.0.0.1:8080';
const proxied = ['/apis', '/api', '/auth', '/artifacts', '/healthz', '/mlflow', '/notebook/', '/pipeline/', '/s3/'];

export default defineConfig({
  plugins: [react()],
  // Everything is served from the box: no data: URLs in CSS, no inlined assets, so the page's CSP stays strict.
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    sourcemap: false,
    chunkSizeWarningLimit: 1600, // elkjs is one large file; it is loaded only with a graph
    modulePreload: { polyfill: false },
  },
  server: {
    port: 5173,
    proxy: Object.fromEntries(
      // The daemon checks Origin against its own host, so the proxy presents itself as the box.
      proxied.map((path) => [path, { target: box, changeOrigin: true, headers: { origin: box } }]),
    ),
  },
  test: { include: ['src/**/*.test.ts'] },
});
