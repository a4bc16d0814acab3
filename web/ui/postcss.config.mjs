// Mantine's light-dark() and rem() helpers in our CSS modules.
export default { plugins: { 'postcss-preset-mantine': {} } };
