// Pipelines: uploading, refusing, versions, deleting.
import { writeFileSync } from 'node:fs';
import { expect, FIXTURE, fresh, node, test, uploadPipeline } from './box';

test('a pipeline is uploaded, shown as a graph and as YAML, gets a version and is deleted', async ({ user }) => {
  const name = fresh('upload');
  await uploadPipeline(user, name, process.env.KFBOX_PIPELINE_YAML ?? FIXTURE);
  await expect(user.locator('[data-path^="root/"]').first()).toBeVisible();
  await user.getByRole('tab', { name: 'YAML' }).click();
  await expect(user.locator('.cm-content')).toContainText('components');

  await user.getByRole('button', { name: 'Upload a version' }).click();
  const dialog = user.getByRole('dialog');
  await dialog.locator('input[type=file]').setInputFiles(FIXTURE);
  await dialog.getByLabel('Version name').fill(`${name} second`);
  await dialog.getByRole('button', { name: 'Upload', exact: true }).click();
  await expect(dialog).toBeHidden();
  await expect(node(user, 'root/greet')).toBeVisible();
  await user.getByRole('tab', { name: 'Versions (2)' }).click();
  await expect(user.getByRole('link', { name: `${name} second` })).toBeVisible();

  await user.getByRole('button', { name: 'More actions' }).click();
  await user.getByRole('menuitem', { name: 'Delete the pipeline' }).click();
  await user.getByRole('button', { name: 'Delete the pipeline' }).click();
  await expect(user.getByRole('heading', { level: 1, name: 'Pipelines' })).toBeVisible();
  await expect(user.getByRole('link', { name, exact: true })).toHaveCount(0);
});

test('a file that is no pipeline is refused with the box\'s own words', async ({ user }, info) => {
  const file = info.outputPath('broken.yaml');
  writeFileSync(file, 'just: some\nyaml: true\n');
  await user.goto('/pipelines?upload=true');
  const dialog = user.getByRole('dialog');
  await dialog.locator('input[type=file]').setInputFiles(file);
  await dialog.getByRole('button', { name: 'Upload', exact: true }).click();
  await expect(dialog.getByRole('alert')).not.toBeEmpty();
  await expect(dialog.getByRole('alert')).not.toContainText('HTTP');
});

test('the list is live: a pipeline that someone else uploads appears by itself', async ({ user, api, baseURL }) => {
  await user.goto('/pipelines');
  await expect(user.getByRole('heading', { level: 1, name: 'Pipelines' })).toBeVisible();
  const name = fresh('elsewhere');
  const { readFileSync } = await import('node:fs');
  const answer = await api.post(`/apis/v2beta1/pipelines/upload?name=${name}`, {
    headers: { Origin: baseURL ?? '' },
    multipart: { uploadfile: { name: 'steps.yaml', mimeType: 'application/yaml', buffer: readFileSync(FIXTURE) } },
  });
  expect(answer.ok(), await answer.text()).toBe(true);
  await expect(user.getByRole('link', { name, exact: true })).toBeVisible();
});
