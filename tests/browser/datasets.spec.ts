// A data set as a person keeps one: filled, committed, compared, tagged, branched.
import { expect, expectAccessible, fresh, test } from './box';

test('files are committed, compared, tagged and branched', async ({ user, api, baseURL }) => {
  const name = fresh('digits').toLowerCase();
  const put = async (key: string, data: string) => {
    const answer = await api.put(`/s3/kubeflow/${name}/${key}`, { headers: { Origin: baseURL ?? '' }, data });
    expect(answer.ok(), await answer.text()).toBe(true);
  };
  await user.goto('/datasets');
  await expectAccessible(user, 'the list of data sets');
  await user.getByRole('button', { name: 'Create a data set' }).first().click();
  const dialog = user.getByRole('dialog');
  await dialog.getByLabel('Name').fill('No Good');
  await dialog.getByRole('button', { name: 'Create' }).click();
  await expect(dialog.getByRole('alert')).toContainText('metadata.name');
  await dialog.getByLabel('Name').fill(name);
  await dialog.getByRole('button', { name: 'Create' }).click();
  await expect(user.getByRole('heading', { level: 1, name })).toBeVisible();
  await expect(user.getByText('No commits yet')).toBeVisible();
  await expectAccessible(user, 'an empty data set');

  await expect(async () => put('main/train.csv', 'x,y\n1,2\n')).toPass();
  await put('main/notes.txt', 'first');
  await user.getByRole('tab', { name: 'Not committed' }).click();
  const differs = user.getByRole('table', { name: 'What differs' });
  await expect(differs.getByRole('row')).toHaveCount(3);
  await expect(differs.getByRole('row', { name: /Added notes\.txt/ })).toBeVisible();
  const commit = async (message: string) => {
    await user.getByRole('button', { name: 'Commit', exact: true }).first().click();
    await dialog.getByLabel('Message').fill(message);
    await dialog.getByRole('button', { name: 'Commit' }).click();
  };
  await commit('the beginning');
  await expect(user.getByText('Everything is committed.')).toBeVisible();
  await user.getByRole('tab', { name: 'History' }).click();
  const history = user.getByRole('table', { name: 'Commits' });
  await expect(history.getByRole('row', { name: /the beginning.*Finished/ })).toBeVisible();

  await put('main/train.csv', 'x,y\n1,2\n3,4\n');
  await commit('more rows');
  const second = history.getByRole('row', { name: /more rows.*Finished/ });
  await expect(second).toContainText('+0 ~1 −0');
  await second.getByRole('button', { name: /Actions on the commit/ }).click();
  await user.getByRole('menuitem', { name: 'What it changed' }).click();
  await expect(differs.getByRole('row', { name: 'Changed train.csv 8 B 12 B' })).toBeVisible();
  await expectAccessible(user, 'a comparison');
  await differs.getByRole('link', { name: 'train.csv' }).click();
  await expect(user.getByRole('dialog').getByRole('cell', { name: '3', exact: true })).toBeVisible();
  await user.goto(`/datasets/kubeflow/${name}`);

  await second.getByRole('button', { name: /Actions on the commit/ }).click();
  await user.getByRole('menuitem', { name: 'Tag…' }).click();
  await dialog.getByLabel('Tag').fill('bad name');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await expect(dialog.getByRole('alert')).toContainText('spec.tags');
  await dialog.getByLabel('Tag').fill('v1.0');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await expect(history.getByText('v1.0')).toBeVisible();
  await expectAccessible(user, 'the history of a data set');

  await user.getByRole('button', { name: 'New branch' }).click();
  await dialog.getByLabel('Name').fill('trial');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await expect(user.getByLabel('Branch', { exact: true })).toHaveValue('trial');
  await expect(user.getByText('No commits yet')).toBeVisible();
  await expect(async () => put('trial/extra.txt', 'new')).toPass();
  await user.getByRole('tab', { name: 'Not committed' }).click();
  await expect(differs.getByRole('row', { name: /Added extra\.txt/ })).toBeVisible();
  await expect(differs.getByRole('row')).toHaveCount(2);

  // A commit cannot be written to: the box says why.
  await user.goto(`/datasets/kubeflow/${name}`);
  await history.getByRole('row', { name: /the beginning/ }).getByRole('link').first().click();
  await expect(user.getByRole('link', { name: 'notes.txt' })).toBeVisible();
  const chooser = user.waitForEvent('filechooser');
  await user.getByRole('button', { name: 'Upload files' }).first().click();
  await (await chooser).setFiles([{ name: 'late.txt', mimeType: 'text/plain', buffer: Buffer.from('no') }]);
  await expect(user.getByText(/commits never change/)).toBeVisible();

  await user.goto(`/datasets/kubeflow/${name}`);
  await user.getByRole('button', { name: 'Delete', exact: true }).click();
  await user.getByRole('button', { name: 'Delete the data set' }).click();
  await expect(user.getByRole('heading', { level: 1, name: 'Data sets' })).toBeVisible();
  await expect(user.getByRole('link', { name })).toHaveCount(0);
});
