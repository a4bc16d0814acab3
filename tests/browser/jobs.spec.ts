// Training jobs and volumes: made from YAML that the box checks, followed, suspended, deleted.
import { expect, expectAccessible, fresh, test } from './box';

const job = (name: string) => ({
  apiVersion: 'batch/v1',
  kind: 'Job',
  metadata: { name },
  spec: { template: { spec: { restartPolicy: 'Never', containers: [{ name: 'main', image: 'busybox', command: ['sh', '-c', 'echo made by hand; sleep 600'] }] } } },
});

test('a job is created from YAML, followed and deleted', async ({ user, api, baseURL }) => {
  const name = fresh('job');
  await user.goto('/jobs');
  await expect(user.getByRole('heading', { level: 1, name: 'Jobs' })).toBeVisible();
  const answer = await api.post('/apis/batch/v1/namespaces/kubeflow/jobs', { headers: { Origin: baseURL ?? '' }, data: job(name) });
  expect(answer.ok(), await answer.text()).toBe(true);
  // Somebody else made it: it appears by itself, and its state follows.
  const row = user.getByRole('row', { name: new RegExp(name) });
  await expect(row).toContainText('Running');
  await expectAccessible(user, 'the list of jobs');
  await row.getByRole('link', { name }).click();
  await expect(user.getByRole('heading', { level: 1, name })).toBeVisible();
  await expect(user.getByRole('table', { name: 'Pods' })).toContainText(name);
  await expectAccessible(user, 'the page of a job');
  await user.getByRole('tab', { name: 'Logs' }).click();
  await expect(user.getByText('made by hand')).toBeVisible();
  await user.getByRole('button', { name: 'Suspend' }).click();
  await expect(user.getByRole('main').locator('[data-state][data-large]')).toContainText('Suspended');
  await user.getByRole('button', { name: 'Delete' }).click();
  await user.getByRole('button', { name: 'Delete the job' }).click();
  await expect(user.getByRole('heading', { level: 1, name: 'Jobs' })).toBeVisible();
  await expect(row).toHaveCount(0);
});

test('the editor says what the box would refuse, at its line', async ({ user }) => {
  await user.goto('/jobs/new?example=Job');
  await expect(user.getByRole('status').filter({ hasText: 'it is valid' })).toBeVisible();
  const editor = user.locator('.cm-content');
  await editor.click();
  await user.keyboard.press('Control+Home');
  await user.keyboard.type('unknownField: 1\n');
  await expect(user.getByRole('alert')).toContainText('unknownField');
  await expect(user.getByRole('alert')).toContainText('Line 1');
  await expect(user.getByRole('button', { name: 'Create' })).toBeDisabled();
  await expectAccessible(user, 'the editor');
});

test('a volume is created and deleted, in the namespace that the URL names', async ({ user }) => {
  const name = fresh('volume');
  await user.goto('/volumes?ns=kubeflow');
  await user.getByRole('button', { name: 'Create a volume' }).first().click();
  const dialog = user.getByRole('dialog');
  await dialog.getByLabel('Name').fill(name);
  await dialog.getByLabel('Size in GiB').fill('1');
  await dialog.getByRole('button', { name: 'Create', exact: true }).click();
  const row = user.getByRole('row', { name: new RegExp(name) });
  await expect(row).toContainText('Nobody');
  await expectAccessible(user, 'the list of volumes');
  await user.getByRole('button', { name: `Delete ${name}` }).click();
  await user.getByRole('button', { name: 'Delete the volume' }).click();
  await expect(row).toHaveCount(0);
});
