// The life of a run as a person sees it: start, colours, logs, outputs, clone, terminate, retry.
import { expect, fresh, node, openStep, runBadge, showStored, startRun, test, uploadPipeline } from './box';

test('a run is started from the form and watched to its end without a reload', async ({ user }) => {
  await uploadPipeline(user, fresh('watched'));
  await startRun(user, fresh('watched run'), { name: 'Ada', seconds: '4' });
  await user.evaluate(() => Object.assign(window, { notReloaded: true }));

  await expect(node(user, 'root/wait')).toHaveAttribute('data-state', 'RUNNING', { timeout: 60_000 });
  await expect(node(user, 'root/report')).toHaveAttribute('data-state', 'NOT_REACHED');
  await openStep(user, 'root/wait');
  await user.getByRole('tab', { name: 'Logs' }).click();
  await expect(user.getByRole('log')).toContainText('waited 0 of 4 seconds');
  await expect(user.getByRole('log')).toContainText('waiting is over', { timeout: 30_000 });

  await expect(runBadge(user, 'Succeeded')).toBeVisible({ timeout: 60_000 });
  for (const step of ['greet', 'wait', 'report', 'check']) {
    await expect(node(user, `root/${step}`)).toHaveAttribute('data-state', 'SUCCEEDED');
  }
  expect(await user.evaluate(() => 'notReloaded' in window)).toBe(true);

  // The address holds the state: the same step and tab after a reload, and the log is still there.
  await user.reload();
  await expect(user.getByRole('log')).toContainText('waiting is over');
  await user.getByLabel('Search the log').fill('waited 2');
  await expect(user.getByText('1 / 1')).toBeVisible();

  await openStep(user, 'root/greet');
  await user.getByRole('tab', { name: 'Inputs & outputs' }).click();
  await expect(user.getByRole('table', { name: 'Outputs: parameters' })).toContainText('Hello, Ada!');
});

test('metrics, confusion matrix, HTML and Markdown are shown, and foreign HTML stays in its sandbox', async ({ user }) => {
  await uploadPipeline(user, fresh('outputs'));
  await startRun(user, fresh('outputs run'), { name: 'Grace', seconds: '0' });
  await expect(runBadge(user, 'Succeeded')).toBeVisible({ timeout: 60_000 });
  await user.getByRole('tab', { name: 'Outputs', exact: true }).click();
  await expect(user.getByRole('table', { name: 'Metrics by step' })).toContainText('0.9711');
  await expect(user.getByText('95 of 100 right')).toBeVisible();
  const frame = user.frameLocator('iframe[title="HTML of report / page"]');
  await expect(frame.getByRole('heading', { name: 'Hello, Grace!' })).toBeVisible();
  await expect(frame.locator('#probe')).toHaveText('sandboxed');
  await expect(user.getByText('<script>window.hacked = true</script>')).toBeVisible();
  expect(await user.evaluate(() => 'hacked' in window)).toBe(false);
});

test('a failing run says why, leads to the error, can be retried and cloned', async ({ user }) => {
  await uploadPipeline(user, fresh('failing'));
  const name = fresh('failing run');
  const id = await startRun(user, name, { seconds: '1', fail: true });
  await expect(runBadge(user, 'Failed')).toBeVisible({ timeout: 60_000 });
  await expect(user.getByRole('main')).toContainText(/check failed/);
  await openStep(user, 'root/check');
  await user.getByRole('button', { name: 'Read its log' }).click();
  await user.getByRole('button', { name: 'Jump to the first error' }).click();
  await expect(user.getByRole('log')).toContainText('asked to fail');

  await user.getByRole('button', { name: 'Retry' }).click();
  await expect(runBadge(user, 'Failed')).toBeHidden();
  await expect(runBadge(user, 'Failed')).toBeVisible({ timeout: 60_000 });
  // What had succeeded was not run again.
  await expect(node(user, 'root/wait')).toHaveAttribute('data-state', /SUCCEEDED|CACHED/);

  await user.getByRole('link', { name: 'Clone' }).click();
  await expect(user.getByLabel('Run name')).toHaveValue(`Clone of ${name}`);
  await expect(user.locator('#parameter-fail')).toBeChecked();
  await user.locator('#parameter-fail').setChecked(false, { force: true });
  await user.getByRole('button', { name: 'Start the run' }).click();
  await expect(user.getByRole('heading', { level: 1, name: `Clone of ${name}` })).toBeVisible();
  expect(user.url()).not.toContain(id);
  await expect(runBadge(user, 'Succeeded')).toBeVisible({ timeout: 60_000 });
});

test('a run is terminated', async ({ user }) => {
  await uploadPipeline(user, fresh('endless'));
  await startRun(user, fresh('endless run'), { seconds: '600' });
  await expect(node(user, 'root/wait')).toHaveAttribute('data-state', 'RUNNING', { timeout: 60_000 });
  await user.getByRole('button', { name: 'Terminate', exact: true }).click();
  await user.getByRole('button', { name: 'Terminate the run' }).click();
  await expect(runBadge(user, 'Terminated')).toBeVisible({ timeout: 60_000 });
  await expect(node(user, 'root/wait')).toHaveAttribute('data-state', 'CANCELED');
});

test('the form checks types while one types, and shows the request', async ({ user }) => {
  await uploadPipeline(user, fresh('form'));
  await user.getByRole('main').getByRole('link', { name: 'Start a run' }).click();
  await user.locator('#parameter-seconds').fill('three');
  await expect(user.getByText('A whole number, such as 10.')).toBeVisible();
  await user.getByRole('button', { name: 'Start the run' }).click();
  await expect(user.locator('#parameter-seconds')).toBeFocused();
  await user.locator('#parameter-seconds').fill('7');
  await user.getByRole('button', { name: 'Show the request' }).click();
  await expect(user.getByText('"seconds": 7')).toBeVisible();
});

test('runs are archived in bulk and found among the archived', async ({ user }) => {
  await uploadPipeline(user, fresh('bulk'));
  const name = fresh('bulk run');
  await startRun(user, name, { seconds: '0' });
  await expect(runBadge(user, 'Succeeded')).toBeVisible({ timeout: 60_000 });
  await user.goto(`/runs?q=${encodeURIComponent(name)}`);
  await user.getByRole('checkbox', { name: `Select ${name}` }).check();
  await user.getByRole('button', { name: 'Archive', exact: true }).click();
  await expect(user.getByText('No run matches')).toBeVisible();
  await showStored(user, 'Archived');
  await expect(user.getByRole('link', { name })).toBeVisible();
});

test('old links of the SDK lead to the run', async ({ user }) => {
  await uploadPipeline(user, fresh('old-link'));
  const name = fresh('old link run');
  const id = await startRun(user, name, { seconds: '0' });
  await user.goto('/docs');
  await user.goto(`/#/runs/details/${id}`);
  await expect(user.getByRole('heading', { level: 1, name })).toBeVisible();
  await user.goto('/runs/00000000-0000-0000-0000-000000000000');
  await expect(user.getByText('There is no such run.')).toBeVisible();
});
