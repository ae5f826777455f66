import { render } from "preact";
import { App } from "./app";
import { Store } from "./state/store";

const store = new Store();
render(<App store={store} />, document.getElementById("root")!);
store.start();
