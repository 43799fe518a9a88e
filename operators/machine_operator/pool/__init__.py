"""The MachinePool controller: what is authorised for which host, and the Machine objects that show it."""
