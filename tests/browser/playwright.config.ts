// How the browser tests find a box and a browser. They run against a live box and change it: give them a throw-away one.
//   KFBOX_URL                 where it answers (default http://127.0.0.1:8080)
//   KFBOX_LOGIN_TOKEN_CMD     prints a one-time login token or link, or else
//   KFBOX_ADMIN_TOKEN_FILE    a file with an API token
//   KFBOX_PIPELINE_YAML       optional: another pipeline file for the upload test
//   CHROMIUM                  the browser (default /usr/bin/chromium)
import { defineConfig } from '@playwright/test';

export default defineConfig({
  testDir: '.',
  testMatch: '*.spec.ts',
  // One box, and its lists are part of what is tested: no two tests at once.
  workers: 1,
  fullyParallel: false,
  retries: 0,
  timeout: 120_000,
  expect: { timeout: 20_000 },
  reporter: [['list']],
  outputDir: 'test-results',
  use: {
    baseURL: process.env.KFBOX_URL ?? 'http://127.0.0.1:8080',
    viewport: { width: 1366, height: 768 },
    trace: 'retain-on-failure',
    screenshot: 'only-on-failure',
    launchOptions: {
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      args: ['--no-sandbox', '--disable-quic', '--disable-background-networking', '--disable-component-update', '--no-first-run'],
    },
  },
});
