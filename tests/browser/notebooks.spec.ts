// Notebooks: made with a form that knows the box, opened on an origin of their own, stopped, started, deleted with their
// volume; by mouse and by keyboard.
import { execSync } from 'node:child_process';
import type { APIRequestContext, Page } from '@playwright/test';
import { expect, expectAccessible, expectAccessibleInBoth, fresh, test } from './box';

/** A small server for tests where there is one, else what users get. */
function image(): string | undefined {
  return ['kfbox-test/notebook:1', 'kfbox/notebook:1'].find((name) => {
    try {
      execSync(`docker image inspect ${name}`, { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  });
}

const NOTEBOOKS = '/apis/kubeflow.org/v1/namespaces/kubeflow/notebooks';
const CLAIMS = '/api/v1/namespaces/kubeflow/persistentvolumeclaims';
const short = (word: string) => fresh(word).toLowerCase();
const badge = (page: Page) => page.getByRole('main').locator('[data-state][data-large]');
const nameField = (page: Page) => page.getByRole('textbox', { name: 'Name', exact: true });
const valid = (page: Page) => expect(page.getByRole('status').filter({ hasText: 'it is valid' })).toBeVisible();

/** A notebook that is never started: the pages can be looked at without a server. */
async function stopped(api: APIRequestContext, baseURL: string | undefined, name: string, more: { annotations?: Record<string, string>; claim?: string } = {}): Promise<void> {
  const headers = { Origin: baseURL ?? '' };
  if (more.claim !== undefined) {
    const claim = { apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: { name: more.claim }, spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } } };
    const made = await api.post(CLAIMS, { headers, data: claim });
    expect(made.ok(), await made.text()).toBe(true);
  }
  const volumes = more.claim === undefined ? {} : { volumes: [{ name: 'workspace', persistentVolumeClaim: { claimName: more.claim } }] };
  const mounts = more.claim === undefined ? {} : { volumeMounts: [{ name: 'workspace', mountPath: '/home/jovyan' }] };
  const data = {
    apiVersion: 'kubeflow.org/v1',
    kind: 'Notebook',
    metadata: { name, annotations: { 'kubeflow-resource-stopped': new Date().toISOString(), ...more.annotations } },
    spec: { template: { spec: { containers: [{ name, image: 'kfbox/busybox:1', resources: { requests: { cpu: '500m', memory: '1Gi' } }, ...mounts }], ...volumes } } },
  };
  const answer = await api.post(NOTEBOOKS, { headers, data });
  expect(answer.ok(), await answer.text()).toBe(true);
}

/** Chooses an image, also one that the box does not offer. */
async function chooseImage(page: Page, name: string): Promise<void> {
  await expect(nameField(page)).toBeVisible();
  const select = page.getByRole('combobox', { name: 'Image' });
  if ((await select.count()) > 0) {
    const offered = await select.locator('option').evaluateAll((all) => all.map((each) => (each as HTMLOptionElement).value));
    if (offered.includes(name)) {
      await select.selectOption(name);
      return;
    }
    await select.selectOption({ label: 'Another image' });
  }
  await page.getByRole('textbox', { name: /image/i }).fill(name);
}

test('a notebook is made, opened, stopped, started, and deleted with its volume', async ({ user, api }) => {
  const server = image();
  test.skip(server === undefined, 'no image of a notebook is on this machine');
  test.setTimeout(300_000);
  const name = short('nb');
  await user.goto('/');
  await user.getByRole('navigation', { name: 'Places' }).getByRole('link', { name: 'Notebooks' }).click();
  await user.getByRole('link', { name: 'New notebook' }).first().click();
  await expect(user.getByRole('heading', { level: 1, name: 'New notebook' })).toBeVisible();
  await expect(nameField(user)).toHaveValue(/^notebook-\d+$/);
  await nameField(user).fill(name);
  await chooseImage(user, server ?? '');
  await user.getByRole('textbox', { name: 'CPUs' }).fill('0.5');
  await user.getByRole('textbox', { name: 'Memory in GiB' }).fill('1');
  await user.getByRole('textbox', { name: 'Size in GiB' }).fill('1');
  await user.getByRole('button', { name: /^Advanced/ }).click();
  await user.getByRole('combobox', { name: 'Stop it when idle for' }).selectOption('8h');
  await user.getByRole('button', { name: 'Add a variable' }).click();
  await user.getByLabel('Name of variable 1').fill('GREETING');
  await user.getByLabel('Value of variable 1').fill('hello');
  const yaml = user.getByRole('region', { name: 'YAML' });
  await expect(yaml).toContainText(`name: ${name}-workspace`);
  await expect(yaml).toContainText('cpu: 500m');
  await expect(yaml).toContainText('GREETING');
  await valid(user);
  await user.getByRole('button', { name: 'Create the notebook' }).click();

  await expect(user.getByRole('heading', { level: 1, name })).toBeVisible();
  await expect(badge(user)).toContainText('Running', { timeout: 120_000 });
  await expect(user.getByRole('main')).toContainText('0.5 CPUs, 1 GiB');
  await expect(user.getByRole('table', { name: 'Volumes' })).toContainText(`${name}-workspace`);
  await expect(user.getByRole('combobox', { name: 'Stopped when idle' })).toHaveValue('8h');
  await user.getByRole('combobox', { name: 'Stopped when idle' }).selectOption('2h');
  await expect.poll(async () => ((await (await api.get(`${NOTEBOOKS}/${name}`)).json()) as { metadata: { annotations: Record<string, string> } }).metadata.annotations['kfbox.dev/idle-timeout']).toBe('2h');
  await expectAccessibleInBoth(user, 'the page of a notebook');

  const [opened] = await Promise.all([user.waitForEvent('popup'), user.getByRole('link', { name: `Open ${name} in a new tab` }).click()]);
  await expect(opened).toHaveTitle(/Jupyter/i, { timeout: 60_000 });
  await expect(opened.locator('#jp-main-dock-panel, .jp-LauncherCard').first()).toBeVisible({ timeout: 60_000 });
  // Foreign code is not at the box's own origin.
  expect(new URL(opened.url()).hostname).toMatch(/^nb-[0-9a-f]{16}\.localhost$/);
  await opened.close();

  await user.getByRole('tab', { name: 'Logs' }).click();
  await expect(user.getByRole('main')).toContainText(/jupyter/i);
  await expectAccessible(user, 'the log of a notebook');
  await user.getByRole('tab', { name: 'Events' }).click();
  await expect(user.getByRole('table', { name: 'Events' })).toContainText(`${name}-0`);
  await user.getByRole('tab', { name: 'YAML' }).click();
  await expect(user.locator('.cm-content')).toContainText('kind: Notebook');

  const pod = async () => ((await (await api.get(`/api/v1/namespaces/kubeflow/pods/${name}-0`)).json()) as { metadata: { uid?: string } }).metadata.uid;
  const before = await pod();
  await user.getByRole('button', { name: 'Restart' }).click();
  await user.getByRole('button', { name: 'Restart the notebook' }).click();
  await expect.poll(async () => [before, undefined].includes(await pod()), { timeout: 60_000 }).toBe(false);
  await expect(badge(user)).toContainText('Running', { timeout: 60_000 });

  await user.getByRole('button', { name: 'Stop', exact: true }).click();
  await user.getByRole('button', { name: 'Stop the notebook' }).click();
  await expect(badge(user)).toContainText('Stopped', { timeout: 60_000 });
  await expect(user.getByRole('link', { name: `Open ${name} in a new tab` })).toHaveCount(0);
  // Its volume is still its own, and says so.
  await user.goto('/volumes');
  await expect(user.getByRole('row', { name: new RegExp(`${name}-workspace`) }).getByRole('link', { name, exact: true })).toBeVisible();
  await user.goto('/notebooks');
  await user.getByRole('button', { name: `Start ${name}` }).click();
  const row = user.getByRole('row', { name: new RegExp(name) });
  await expect(row).toContainText('Running', { timeout: 120_000 });
  await expectAccessibleInBoth(user, 'the list of notebooks');

  await user.getByRole('button', { name: `Delete ${name}` }).click();
  const dialog = user.getByRole('dialog', { name: `Delete ${name}?` });
  await expect(dialog.getByRole('checkbox')).not.toBeChecked();
  await dialog.getByRole('checkbox', { name: `Delete its volume too: ${name}-workspace` }).check();
  await expectAccessible(user, 'the question before a notebook is deleted');
  await dialog.getByRole('button', { name: 'Delete the notebook' }).click();
  await expect(row).toHaveCount(0);
  await expect.poll(async () => (await api.get(`${CLAIMS}/${name}-workspace`)).status(), { timeout: 60_000 }).toBe(404);
});

test('the form says what is wrong, what waits, and what the box refuses', async ({ user, api, baseURL }) => {
  const name = short('form');
  await stopped(api, baseURL, name, { claim: `${name}-data` });
  await user.goto('/notebooks/new');
  const field = nameField(user);
  await field.fill('Not a name');
  await expect(user.getByText('Only small letters.')).toBeVisible();
  await field.fill(name);
  await expect(user.getByText('There is a notebook of that name.')).toBeVisible();
  await field.fill(`${name}-2`);
  await chooseImage(user, 'kfbox/busybox:1');
  await valid(user);
  const cpus = user.getByRole('textbox', { name: 'CPUs' });
  await expect(user.getByText(/^[\d.]+ of [\d.]+ CPUs? (is|are) free$/)).toBeVisible();
  await cpus.fill('9999');
  await expect(user.getByText(/^The box has [\d.]+ CPUs? in all\.$/)).toBeVisible();
  await cpus.fill('0.1');

  await user.getByRole('radio', { name: 'None' }).check();
  await expect(user.getByText('all files are lost')).toBeVisible();
  await user.getByRole('radio', { name: 'A volume that is there' }).check();
  await user.getByRole('combobox', { name: 'Volume of the workspace' }).selectOption(`${name}-data`);
  await user.getByRole('button', { name: /^Advanced/ }).click();
  await user.getByRole('button', { name: 'Add a volume' }).click();
  const data = user.getByRole('group', { name: 'Data volume 1' });
  await data.getByLabel('Volume', { exact: true }).selectOption('new');
  await data.getByLabel('Mounted at').fill('relative');
  await expect(data.getByText(/^Write a whole path/)).toBeVisible();
  await data.getByLabel('Mounted at').fill('/data');
  await data.getByLabel('Read only').check();
  await valid(user);
  await expect(user.getByRole('region', { name: 'YAML' })).toContainText('readOnly: true');
  await expectAccessibleInBoth(user, 'the form of a notebook');

  // The notebook is refused when it is sent: its new volume goes again, and the form says why.
  await user.route(`**${NOTEBOOKS}?*`, (route) => {
    if (route.request().method() !== 'POST' || route.request().url().includes('dryRun')) return route.continue();
    return route.fulfill({ status: 403, json: { kind: 'Status', message: 'the box is closed today' } });
  });
  await user.getByRole('button', { name: 'Create the notebook' }).click();
  await expect(user.getByRole('alert')).toContainText('the box is closed today');
  await expect(nameField(user)).toHaveValue(`${name}-2`);
  await expect.poll(async () => (await api.get(`${CLAIMS}/${name}-2-data-1`)).status()).toBe(404);
  expect((await api.get(`${CLAIMS}/${name}-data`)).status()).toBe(200);

  // What only the box knows to be wrong: its own words, before anything is sent for good.
  await user.goto(`/notebooks/new?ns=${name}`);
  await chooseImage(user, 'kfbox/busybox:1');
  await user.getByRole('radio', { name: 'None' }).check();
  await expect(user.getByRole('alert')).toContainText(`namespaces "${name}" not found`);
  const headers = { Origin: baseURL ?? '' };
  await api.delete(`${NOTEBOOKS}/${name}`, { headers });
  await api.delete(`${CLAIMS}/${name}-data`, { headers });
});

test('several at once, and what is stopped by the box', async ({ user, api, baseURL }) => {
  const name = short('many');
  await stopped(api, baseURL, `${name}-a`, { claim: `${name}-shared` });
  await stopped(api, baseURL, `${name}-b`, { annotations: { 'kfbox.dev/culled': '2h' } });
  await user.goto(`/notebooks?q=${name}`);
  const rows = user.getByRole('row', { name: new RegExp(name) });
  await expect(rows).toHaveCount(2);
  for (const row of [0, 1]) await expect(rows.nth(row)).toContainText('Stopped');
  // Opening wakes the one that was idle; the other one was stopped by somebody.
  await expect(user.getByRole('link', { name: /^Open / })).toHaveCount(1);
  await user.getByRole('combobox', { name: 'State' }).selectOption('Running');
  await expect(user.getByText('No notebook matches')).toBeVisible();
  await user.getByRole('combobox', { name: 'State' }).selectOption('Any state');
  await user.getByLabel('Select all rows of this page').check();
  await user.getByRole('toolbar').getByRole('button', { name: 'Delete' }).click();
  const dialog = user.getByRole('dialog', { name: 'Delete 2 notebooks?' });
  await expect(dialog.getByRole('checkbox', { name: `Delete its volume too: ${name}-shared` })).not.toBeChecked();
  await dialog.getByRole('button', { name: 'Delete the notebooks' }).click();
  await expect(rows).toHaveCount(0);
  expect((await api.get(`${CLAIMS}/${name}-shared`)).status()).toBe(200);
  await api.delete(`${CLAIMS}/${name}-shared`, { headers: { Origin: baseURL ?? '' } });
});

test('a notebook is made by keyboard alone', async ({ user, api, baseURL }) => {
  const name = short('keys');
  await user.goto('/');
  await expect(user.getByRole('heading', { level: 1, name: 'Home' })).toBeVisible();
  await user.keyboard.press('Control+k');
  await user.getByRole('dialog', { name: 'Find' }).getByRole('textbox').fill('new notebook');
  await user.keyboard.press('Enter');
  await expect(user.getByRole('heading', { level: 1, name: 'New notebook' })).toBeVisible();
  await nameField(user).focus();
  await user.keyboard.press('Control+a');
  await user.keyboard.type(name);
  await user.keyboard.press('Tab');
  if ((await user.getByRole('combobox', { name: 'Image' }).count()) > 0) {
    await user.keyboard.press('End');
    await expect(user.getByRole('combobox', { name: 'Image' })).toHaveValue(' other');
    await user.keyboard.press('Tab');
  }
  await user.keyboard.type('kfbox/busybox:1');
  await user.getByRole('radio', { name: /^A new volume/ }).focus();
  await user.keyboard.press('ArrowUp');
  await expect(user.getByRole('radio', { name: 'None' })).toBeChecked();
  await valid(user);
  await nameField(user).focus();
  await user.keyboard.press('Enter');
  await expect(user.getByRole('heading', { level: 1, name })).toBeVisible();
  await api.delete(`${NOTEBOOKS}/${name}`, { headers: { Origin: baseURL ?? '' } });
});
