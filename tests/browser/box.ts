// What the tests share: logging in, the box's API for setting the scene, uploading and starting through the UI.
import { AxeBuilder } from '@axe-core/playwright';
import { expect, test as base, type APIRequestContext, type Page } from '@playwright/test';
import { execSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const FIXTURE = fileURLToPath(new URL('./fixtures/steps.yaml', import.meta.url));

/** An API token, or a fresh one-time login token: whichever the environment offers. */
export function loginToken(): string {
  const command = process.env.KFBOX_LOGIN_TOKEN_CMD;
  const file = process.env.KFBOX_ADMIN_TOKEN_FILE;
  const text = command !== undefined ? execSync(command, { encoding: 'utf8' }) : file !== undefined ? readFileSync(file, 'utf8') : undefined;
  if (text === undefined) throw new Error('set KFBOX_LOGIN_TOKEN_CMD or KFBOX_ADMIN_TOKEN_FILE');
  return /#token=(\S+)/.exec(text)?.[1] ?? text.trim().split(/\s+/).pop() ?? '';
}

export async function logIn(page: Page): Promise<void> {
  await page.goto(`/login#token=${encodeURIComponent(loginToken())}`);
  await expect(page.getByRole('heading', { level: 1, name: 'Home' })).toBeVisible();
}

/** A name that no earlier run of the tests has used. */
export const fresh = (word: string): string => `${word}-${Date.now().toString(36)}-${Math.floor(Math.random() * 1e4)}`;

export async function uploadPipeline(page: Page, name: string, file = FIXTURE): Promise<void> {
  await page.goto('/pipelines');
  await page.getByRole('button', { name: 'Upload a pipeline' }).first().click();
  const dialog = page.getByRole('dialog', { name: 'Upload a pipeline' });
  await dialog.locator('input[type=file]').setInputFiles(file);
  await dialog.getByLabel('Name').fill(name);
  await dialog.getByRole('button', { name: 'Upload', exact: true }).click();
  await expect(page.getByRole('heading', { level: 1, name })).toBeVisible();
}

/** From the pipeline's page: fills the form, starts, and is on the run's page. Returns the run's id. */
export async function startRun(page: Page, runName: string, parameters: Record<string, string | boolean> = {}): Promise<string> {
  await page.getByRole('main').getByRole('link', { name: 'Start a run' }).click();
  await page.getByLabel('Run name').fill(runName);
  for (const [name, value] of Object.entries(parameters)) {
    const field = page.locator(`#parameter-${name}`);
    if (typeof value === 'boolean') await field.setChecked(value, { force: true });
    else await field.fill(value);
  }
  await page.getByRole('button', { name: 'Start the run' }).click();
  await expect(page.getByRole('heading', { level: 1, name: runName })).toBeVisible();
  const id = /\/runs\/([^/?]+)/.exec(page.url())?.[1];
  if (id === undefined) throw new Error(`not on a run's page: ${page.url()}`);
  return id;
}

/** Lists either what is in use or what was put away. */
export const showStored = (page: Page, which: 'Active' | 'Archived') => page.getByRole('radiogroup', { name: 'Active or archived' }).getByText(which).click();

/** A step's card in the graph. Its data-state changes with the run, without a reload. */
export const node = (page: Page, path: string) => page.locator(`[data-path="${path}"]`);

export async function openStep(page: Page, path: string): Promise<void> {
  await node(page, path).getByRole('button').first().click();
}

/** Where the run's state word stands: the badge under the title. */
export const runBadge = (page: Page, word: string) => page.getByRole('main').locator('[data-state][data-large]').getByText(word);

export async function expectAccessible(page: Page, what: string): Promise<void> {
  // What fades in or out has no contrast of its own yet.
  await page.evaluate(() => Promise.allSettled(document.getAnimations().filter((each) => each instanceof CSSTransition).map((each) => each.finished)));
  const { violations } = await new AxeBuilder({ page }).withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']).analyze();
  const found = violations.map((v) => `${v.id} (${v.impact}): ${v.nodes.map((n) => n.target.join(' ')).slice(0, 4).join('; ')}`);
  expect(found, what).toEqual([]);
}

/** The same, in light and in dark colours. */
export async function expectAccessibleInBoth(page: Page, what: string): Promise<void> {
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme });
    await expectAccessible(page, `${what}, ${colorScheme}`);
  }
}

interface Fixtures {
  /** A page of someone who is logged in; any script error or refused content fails the test. */
  user: Page;
  api: APIRequestContext;
}

export const test = base.extend<Fixtures>({
  user: async ({ page }, use) => {
    const errors: string[] = [];
    page.on('pageerror', (error) => errors.push(error.message));
    page.on('console', (message) => {
      if (/Content Security Policy|Refused to/.test(message.text()) && message.location().url.includes('/artifacts/') === false) errors.push(message.text());
    });
    await logIn(page);
    await use(page);
    expect(errors).toEqual([]);
  },
  api: async ({ user }, use) => use(user.request),
});
export { expect };
