"""How the platform is: figures, the rules that judge them, and the alerts that people hear of."""
