// Every page with axe, in light and in dark; and the graph by keyboard alone.
import { expect, expectAccessible, fresh, node, runBadge, startRun, test, uploadPipeline } from './box';

for (const scheme of ['light', 'dark'] as const) {
  test(`all pages pass axe in ${scheme}`, async ({ user }) => {
    test.setTimeout(240_000);
    await user.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' });
    for (const [path, heading] of [['/', 'Home'], ['/pipelines', 'Pipelines'], ['/runs', 'Runs'], ['/experiments', 'Experiments'], ['/notebooks', 'Notebooks'], ['/notebooks/new', 'New notebook'], ['/buckets', 'Buckets'], ['/keys', 'Access keys'], ['/tracking', 'Tracking'], ['/models', 'Models'], ['/docs', 'Docs'], ['/runs/new', 'Start a run'], ['/nowhere', 'No such page']] as const) {
      await user.goto(path);
      await expect(user.getByRole('heading', { level: 1, name: heading })).toBeVisible();
      await expect(user.getByText(/^Loading/)).toHaveCount(0);
      await expectAccessible(user, path);
    }
    await user.goto('/pipelines?upload=true');
    await expect(user.getByRole('dialog')).toBeVisible();
    await expectAccessible(user, 'the upload dialog');

    await uploadPipeline(user, fresh(`axe-${scheme}`));
    await expect(node(user, 'root/greet')).toBeVisible();
    await expectAccessible(user, 'a pipeline');
    await user.getByRole('main').getByRole('link', { name: 'Start a run' }).click();
    await expect(user.getByRole('button', { name: 'Start the run' })).toBeVisible();
    await expectAccessible(user, 'the form');
    await user.goBack();
    await startRun(user, fresh(`axe ${scheme}`), { seconds: '0' });
    await expect(runBadge(user, 'Succeeded')).toBeVisible({ timeout: 60_000 });
    await expectAccessible(user, 'a run');
    await node(user, 'root/report').getByRole('button').first().click();
    for (const tab of ['Overview', 'Inputs & outputs', 'Artifacts', 'Logs']) {
      await user.getByRole('tab', { name: tab, exact: true }).click();
      await expectAccessible(user, `a step: ${tab}`);
    }
    for (const tab of ['Steps', 'Outputs', 'Details', 'YAML']) {
      await user.getByRole('tab', { name: tab, exact: true }).first().click();
      await expect(user.getByText(/^Loading/)).toHaveCount(0);
      await expectAccessible(user, `a run: ${tab}`);
    }
  });
}

test('the login page passes axe', async ({ page }) => {
  await page.goto('/login');
  await expect(page.getByRole('heading', { name: 'Log in to kfbox' })).toBeVisible();
  await expectAccessible(page, '/login');
});

test('a step is opened by keyboard alone', async ({ user }) => {
  await uploadPipeline(user, fresh('keyboard'));
  await node(user, 'root/greet').getByRole('button').first().focus();
  await user.keyboard.press('Enter');
  await expect(user.getByRole('region', { name: 'Step greet' })).toBeVisible();
  await user.keyboard.press('Control+k');
  await user.getByRole('dialog', { name: 'Find' }).getByRole('textbox').fill('start a run');
  await user.keyboard.press('Enter');
  await expect(user.getByRole('heading', { level: 1, name: 'Start a run' })).toBeVisible();
});
