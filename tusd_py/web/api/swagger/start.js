// Shows the description of this server's API. Nothing is loaded from elsewhere: no validator, no query parameters.
"use strict";

window.ui = SwaggerUIBundle({
  url: new URL("./openapi.json", document.baseURI).href,
  dom_id: "#api",
  deepLinking: true,
  validatorUrl: null,
  queryConfigEnabled: false,
  // A token would otherwise stay in the browser's storage.
  persistAuthorization: false,
});
