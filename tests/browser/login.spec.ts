// Getting in and out.
import { expect, loginToken, logIn, test } from './box';

test('a browser without a session lands at the login page and comes back after it', async ({ page }) => {
  await page.goto('/runs?state=FAILED');
  await expect(page.getByRole('heading', { name: 'Log in to kfbox' })).toBeVisible();
  await page.getByLabel('Token', { exact: true }).fill('not-a-token');
  await page.getByRole('button', { name: 'Log in' }).click();
  await expect(page.getByRole('alert')).toContainText('does not know this token');
  await page.getByLabel('Token', { exact: true }).fill(loginToken());
  await page.getByRole('button', { name: 'Log in' }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Runs' })).toBeVisible();
  expect(page.url()).toContain('state=FAILED');
});

test('the link logs in by itself and leaves no token in the address', async ({ page }) => {
  await logIn(page);
  expect(page.url()).not.toContain('token');
});

test('a link cannot send someone off the box after login', async ({ page }) => {
  await page.goto(`/login?next=${encodeURIComponent('//evil.example/x')}#token=${encodeURIComponent(loginToken())}`);
  await expect(page.getByRole('heading', { level: 1, name: 'Home' })).toBeVisible();
});

test('logging out ends the session', async ({ user }) => {
  await user.getByRole('button', { name: /User menu/ }).click();
  await user.getByRole('menuitem', { name: 'Log out' }).click();
  await expect(user.getByRole('heading', { name: 'Log in to kfbox' })).toBeVisible();
  await user.goto('/pipelines');
  await expect(user.getByRole('heading', { name: 'Log in to kfbox' })).toBeVisible();
});
