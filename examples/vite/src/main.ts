const app = document.querySelector<HTMLDivElement>("#app");
if (app) app.textContent = `Hello from ${location.pathname}`;
