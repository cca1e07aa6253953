"""`hygge probe`: what the engine assumes of OneLake and Fabric, tried on a mirrored database made for the purpose."""
